import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Agent, fetch } from 'undici';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { temporaryDirectory } from './temporary-directory.ts';

/** A real API server that says whether it would take a pod. */
export interface PodAdmission extends AsyncDisposable {
  /** Undefined: it would; else what it says. Into a namespace with that level enforced. */
  refusal(pod: object, level: 'restricted' | 'privileged'): Promise<string | undefined>;
}

type Binaries = { readonly etcd: string; readonly apiserver: string } | { readonly skip: string };

/**
 * Where the binaries are, as envtest looks for them. Without them tests are skipped and say so; `REQUIRE_PARTS=1` makes that a failure.
 * @throws when parts are required and these are not there
 */
export function kubernetesBinaries(): Binaries {
  const { TEST_ASSET_ETCD, TEST_ASSET_KUBE_APISERVER, KUBEBUILDER_ASSETS = '/usr/local/kubebuilder/bin' } = process.env;
  const etcd = TEST_ASSET_ETCD ?? join(KUBEBUILDER_ASSETS, 'etcd');
  const apiserver = TEST_ASSET_KUBE_APISERVER ?? join(KUBEBUILDER_ASSETS, 'kube-apiserver');
  if (existsSync(etcd) && existsSync(apiserver)) return { etcd, apiserver };
  const skip = 'etcd and kube-apiserver are not there; KUBEBUILDER_ASSETS names their directory';
  if (process.env['REQUIRE_PARTS'] === '1') throw new Error(skip);
  return { skip };
}

/** Starts etcd and the API server on loopback, and a namespace for each level. */
export async function startPodAdmission(binaries: { etcd: string; apiserver: string }): Promise<PodAdmission> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryDirectory());
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  stack.use(
    run(binaries.etcd, [
      ...[`--data-dir=${path}/etcd`, '--unsafe-no-fsync', `--listen-peer-urls=http://127.0.0.1:${peerPort}`],
      ...[`--listen-client-urls=${etcdUrl}`, `--advertise-client-urls=${etcdUrl}`],
    ]),
  );
  const token = randomBytes(16).toString('hex');
  await writeFile(join(path, 'tokens.csv'), `${token},admin,admin,system:masters\n`);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = join(path, 'service-account.pem');
  await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const apiserver = run(binaries.apiserver, [
    ...[`--etcd-servers=${etcdUrl}`, '--bind-address=127.0.0.1', '--advertise-address=127.0.0.1'],
    ...[`--secure-port=${port}`, `--cert-dir=${path}/pki`, '--endpoint-reconciler-type=none'],
    ...['--service-cluster-ip-range=10.0.0.0/24', '--allow-privileged=true', '--authorization-mode=RBAC'],
    // Service accounts are made by a controller, of which there is none.
    ...['--disable-admission-plugins=ServiceAccount', '--service-account-issuer=https://cluster.example'],
    ...[`--service-account-key-file=${key}`, `--service-account-signing-key-file=${key}`],
    `--token-auth-file=${path}/tokens.csv`,
  ]);
  stack.use(apiserver);
  const certificate = join(path, 'pki', 'apiserver.crt');
  const ca = await eventually(() => readFile(certificate, 'utf8'), 30_000);
  const agent = new Agent({ connect: { ca } });
  stack.defer(() => agent.close());
  const ask = (target: string, body?: object) =>
    fetch(`https://127.0.0.1:${port}${target}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      dispatcher: agent,
    });
  await eventually(
    async () => {
      const answer = await ask('/readyz').catch((cause) => Promise.reject(new Error(apiserver.output(), { cause })));
      if (!answer.ok) throw new Error(await answer.text());
    },
    60_000,
    100,
  );
  for (const level of ['restricted', 'privileged']) {
    const labels = { 'pod-security.kubernetes.io/enforce': level };
    const answer = await ask('/api/v1/namespaces', { metadata: { name: level, labels } });
    if (!answer.ok) throw new Error(await answer.text());
  }
  const owned = stack.move();
  return {
    async refusal(pod, level) {
      const target = `/api/v1/namespaces/${level}/pods?dryRun=All&fieldValidation=Strict`;
      const answer = await ask(target, pod);
      const { message = `${answer.status}` } = (await answer.json()) as { message?: string };
      return answer.ok ? undefined : message;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function run(program: string, args: readonly string[]): AsyncDisposable & { output(): string } {
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000);
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()).once('error', () => resolve()));
  return {
    output: () => said,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
