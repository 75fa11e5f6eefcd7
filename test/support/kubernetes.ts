import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { KubernetesClient } from '#control-plane/kubernetes/client.ts';
import { readClusterAccess } from '#control-plane/kubernetes/cluster-access.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const run = promisify(execFile);

/** The binaries of a real API server, or why its tests are skipped. */
export type KubernetesBinaries = { readonly etcd: string; readonly apiServer: string } | { readonly skip: string };

/**
 * Looks where envtest does: `TEST_ASSET_ETCD` and `TEST_ASSET_KUBE_APISERVER`, `KUBEBUILDER_ASSETS`, `/usr/local/kubebuilder/bin`.
 * @throws when `REQUIRE_PARTS=1` and they are nowhere
 */
export function kubernetesBinaries(): KubernetesBinaries {
  const directory = process.env['KUBEBUILDER_ASSETS'] ?? '/usr/local/kubebuilder/bin';
  const etcd = process.env['TEST_ASSET_ETCD'] ?? join(directory, 'etcd');
  const apiServer = process.env['TEST_ASSET_KUBE_APISERVER'] ?? join(directory, 'kube-apiserver');
  if (existsSync(etcd) && existsSync(apiServer)) return { etcd, apiServer };
  const skip = `etcd and kube-apiserver are not in ${directory} (KUBEBUILDER_ASSETS)`;
  if (process.env['REQUIRE_PARTS'] === '1') throw new Error(skip);
  return { skip };
}

export interface KubernetesServer extends AsyncDisposable {
  /** Of an administrator, with a client certificate in files. */
  readonly kubeconfig: string;
  readonly directory: string;
  readonly url: string;
  /** The server's authority, PEM. */
  readonly authority: string;
  /** As the administrator. */
  readonly client: KubernetesClient;
  /** Any request as the administrator; the answer as JSON. Rejects on refusals. */
  send(method: string, path: string, body?: object): Promise<Record<string, unknown>>;
  /** A client that is somebody by a bearer token. */
  clientAs(token: string): Promise<KubernetesClient>;
  /** A kubeconfig file with a bearer token. */
  kubeconfigAs(name: string, token: string): Promise<string>;
  stop(): Promise<void>;
  /** At the same port, with the same state. */
  start(): Promise<void>;
  /** Everything older than now is forgotten by etcd. */
  compact(): Promise<void>;
}

/** etcd and an API server on loopback, without nodes, controllers and admission by service accounts: everything that runs there is made by the test. */
export async function startKubernetes(): Promise<KubernetesServer> {
  const binaries = kubernetesBinaries();
  if ('skip' in binaries) throw new Error(binaries.skip);
  const stack = new AsyncDisposableStack();
  const directory = stack.use(await temporaryDirectory()).path;
  const [etcdPort, peerPort, port] = await Promise.all([freePort(), freePort(), freePort()]);
  await makeCertificates(join(directory, 'pki'));
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const etcd = await spawned(directory, binaries.etcd, [
    `--data-dir=${join(directory, 'etcd')}`,
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
    '--unsafe-no-fsync',
  ]);
  stack.defer(() => ended(etcd));
  const url = `https://127.0.0.1:${port}`;
  const kubeconfig = join(directory, 'kubeconfig');
  const pki = join(directory, 'pki');
  const user = { 'client-certificate': 'pki/admin.crt', 'client-key': 'pki/admin.key' };
  await writeKubeconfig(kubeconfig, url, user);
  let server: ChildProcess | undefined;
  const stop = async () => {
    if (server !== undefined) await ended(server);
    server = undefined;
  };
  const clientOf = async (file: string) => {
    const access = await readClusterAccess(file, {});
    return stack.use(await KubernetesClient.open({ access, clock: systemClock, random: systemRandom }));
  };
  const client = await clientOf(kubeconfig);
  const send = (method: string, path: string, body?: object) => request(pki, url, method, path, body);
  const start = async () => {
    server = await spawned(directory, binaries.apiServer, apiServerArguments(pki, etcdUrl, port, url));
    const started = server;
    await eventually(
      async () => {
        if (started.exitCode !== null)
          throw new Error(`the API server ended: ${await readFile(join(directory, 'kube-apiserver.log'), 'utf8')}`);
        await send('GET', '/readyz');
      },
      60_000,
      100,
    );
  };
  stack.defer(stop);
  await start();
  const kubeconfigAs = async (name: string, token: string) => {
    const file = join(directory, `${name}.kubeconfig`);
    await writeKubeconfig(file, url, { token });
    return file;
  };
  return {
    kubeconfig,
    directory,
    url,
    authority: await readFile(join(pki, 'ca.crt'), 'utf8'),
    client,
    send,
    kubeconfigAs,
    clientAs: async (token) => clientOf(await kubeconfigAs('other', token)),
    stop,
    start,
    compact: () => compactEtcd(etcdUrl),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function apiServerArguments(pki: string, etcd: string, port: number, url: string): string[] {
  return [
    `--etcd-servers=${etcd}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    '--endpoint-reconciler-type=none',
    `--secure-port=${port}`,
    `--cert-dir=${pki}`,
    `--tls-cert-file=${pki}/server.crt`,
    `--tls-private-key-file=${pki}/server.key`,
    `--client-ca-file=${pki}/ca.crt`,
    '--service-cluster-ip-range=10.0.0.0/24',
    '--authorization-mode=RBAC',
    '--disable-admission-plugins=ServiceAccount',
    `--service-account-issuer=${url}`,
    `--service-account-key-file=${pki}/sa.pub`,
    `--service-account-signing-key-file=${pki}/sa.key`,
    '--profiling=false',
  ];
}

async function makeCertificates(pki: string): Promise<void> {
  await mkdir(pki, { recursive: true, mode: 0o700 });
  const openssl = (...args: readonly string[]) => run('openssl', args, { cwd: pki });
  const p256 = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  await openssl('req', '-x509', ...p256, '-subj', '/CN=ca', '-keyout', 'ca.key', '-out', 'ca.crt');
  const issue = (name: string, subject: string, ...extensions: readonly string[]) =>
    openssl(
      ...['req', '-x509', ...p256, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-subj', subject],
      ...['-addext', 'basicConstraints=critical,CA:false'],
      ...extensions.flatMap((extension) => ['-addext', extension]),
      ...['-keyout', `${name}.key`, '-out', `${name}.crt`],
    );
  await issue('server', '/CN=kube-apiserver', 'extendedKeyUsage=serverAuth', 'subjectAltName=IP:127.0.0.1');
  await issue('admin', '/O=system:masters/CN=admin', 'extendedKeyUsage=clientAuth');
  await openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', 'sa.key');
  await openssl('pkey', '-in', 'sa.key', '-pubout', '-out', 'sa.pub');
}

function writeKubeconfig(file: string, server: string, user: object): Promise<void> {
  const cluster = { server, 'certificate-authority': 'pki/ca.crt' };
  const document = {
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'test', user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  };
  return writeFile(file, JSON.stringify(document), { mode: 0o600 });
}

/** By a program that is not the one that is tested. */
async function request(pki: string, url: string, method: string, path: string, body?: object) {
  const args = ['-sS', '--fail-with-body', '--max-time', '20', '-X', method, '--cacert', `${pki}/ca.crt`];
  const identity = ['--cert', `${pki}/admin.crt`, '--key', `${pki}/admin.key`];
  const data = body === undefined ? [] : ['-H', 'content-type: application/json', '-d', JSON.stringify(body)];
  const type = method === 'PATCH' ? ['-H', 'content-type: application/merge-patch+json'] : [];
  const sent = run('curl', [...args, ...identity, ...type, ...data, url + path], { maxBuffer: 64 * 1024 * 1024 });
  const { stdout } = await sent.catch((error: { stdout?: string; message: string }) => {
    throw new Error(`${method} ${path}: ${error.stdout ?? ''} ${error.message}`);
  });
  return stdout.startsWith('{') ? (JSON.parse(stdout) as Record<string, unknown>) : {};
}

async function compactEtcd(url: string): Promise<void> {
  const post = async (path: string, body: object) => {
    const { stdout } = await run('curl', ['-sS', '--fail-with-body', '-d', JSON.stringify(body), url + path]);
    return JSON.parse(stdout) as { header: { revision: string } };
  };
  const { header } = await post('/v3/kv/range', { key: Buffer.from('x').toString('base64') });
  await post('/v3/kv/compaction', { revision: header.revision, physical: true });
}

async function spawned(directory: string, program: string, args: readonly string[]): Promise<ChildProcess> {
  const log = await open(join(directory, `${program.slice(program.lastIndexOf('/') + 1)}.log`), 'a');
  const child = spawn(program, args, { cwd: directory, stdio: ['ignore', log.fd, log.fd] });
  await log.close();
  return child;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exit;
}
