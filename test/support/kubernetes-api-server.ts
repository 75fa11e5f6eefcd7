import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, globSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { temporaryDirectory } from './temporary-directory.ts';

export interface KubernetesPrograms {
  readonly etcd: string;
  readonly apiServer: string;
  readonly kubectl: string;
}

/**
 * Programs of Kubernetes, looked for where envtest does: `TEST_ASSET_ETCD`, `TEST_ASSET_KUBE_APISERVER` and `TEST_ASSET_KUBECTL`,
 * `KUBEBUILDER_ASSETS`, what setup-envtest keeps, `/usr/local/kubebuilder/bin`. Without them tests are skipped and say so.
 * @throws where a variable names a place that has none and `REQUIRE_PARTS=1`
 */
export function kubernetesPrograms(): KubernetesPrograms | { readonly skip: string } {
  const { TEST_ASSET_ETCD, TEST_ASSET_KUBE_APISERVER, TEST_ASSET_KUBECTL, ...others } = process.env;
  const { KUBEBUILDER_ASSETS, XDG_DATA_HOME, REQUIRE_PARTS } = others;
  const kept = join(XDG_DATA_HOME ?? join(homedir(), '.local/share'), 'kubebuilder-envtest/k8s');
  const directories = [KUBEBUILDER_ASSETS, ...globSync(join(kept, '*')).sort().reverse(), '/usr/local/kubebuilder/bin'];
  const found = directories
    .filter((directory) => directory !== undefined)
    .map((directory) => ({
      etcd: TEST_ASSET_ETCD ?? join(directory, 'etcd'),
      apiServer: TEST_ASSET_KUBE_APISERVER ?? join(directory, 'kube-apiserver'),
      kubectl: TEST_ASSET_KUBECTL ?? join(directory, 'kubectl'),
    }))
    .find((programs) => Object.values(programs).every((path) => existsSync(path)));
  if (found !== undefined) return found;
  const isNamed = (TEST_ASSET_KUBE_APISERVER ?? KUBEBUILDER_ASSETS) !== undefined;
  if (isNamed && REQUIRE_PARTS === '1') throw new Error('what the environment says of Kubernetes is not there');
  return { skip: 'etcd, kube-apiserver and kubectl are not installed (KUBEBUILDER_ASSETS says where they are)' };
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
  /** Text of its `Warning` headers. */
  readonly warnings: string;
}

export interface ApiRequest {
  /** JSON, or text as it is. */
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
}

/** An API server of its own with nothing else in the cluster, on loopback. */
export interface ApiServer extends AsyncDisposable {
  /** A file for `kubectl`. */
  readonly kubeconfig: string;
  /** As a member of `system:masters`. */
  request(method: 'GET' | 'POST' | 'PUT' | 'PATCH', path: string, options?: ApiRequest): Promise<ApiAnswer>;
}

export async function startApiServer(programs: KubernetesPrograms): Promise<ApiServer> {
  await using starting = new AsyncDisposableStack();
  const directory = starting.use(await temporaryDirectory()).path;
  const [etcdPort, port] = [await freePort(), await freePort()];
  const token = randomUUID();
  const { privateKey, publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'sec1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const file = async (name: string, text: string) => {
    const path = join(directory, name);
    await writeFile(path, text);
    return path;
  };
  const etcd = `http://127.0.0.1:${etcdPort}`;
  const dataDir = join(directory, 'etcd');
  starting.use(
    await startServer(programs.etcd, join(directory, 'etcd.log'), [
      ...[`--data-dir=${dataDir}`, `--listen-client-urls=${etcd}`, `--advertise-client-urls=${etcd}`],
      ...['--listen-peer-urls=http://127.0.0.1:0', '--unsafe-no-fsync'],
    ]),
  );
  const certificates = join(directory, 'certificates');
  const origin = `https://127.0.0.1:${port}`;
  const log = join(directory, 'api-server.log');
  starting.use(
    await startServer(programs.apiServer, log, [
      ...[`--etcd-servers=${etcd}`, `--secure-port=${port}`, `--cert-dir=${certificates}`],
      ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', '--endpoint-reconciler-type=none'],
      ...['--service-cluster-ip-range=10.0.0.0/24', '--authorization-mode=RBAC', '--profiling=false'],
      `--token-auth-file=${await file('tokens.csv', `${token},admin,admin,system:masters\n`)}`,
      `--service-account-issuer=${origin}`,
      `--service-account-signing-key-file=${await file('accounts.key', privateKey)}`,
      `--service-account-key-file=${await file('accounts.pub', publicKey)}`,
      '--disable-admission-plugins=ServiceAccount',
    ]),
  );
  // It makes a certificate for itself.
  const ca = await eventually(() => readFile(join(certificates, 'apiserver.crt')), 30_000);
  const dispatcher = new Agent({ connect: { ca } });
  starting.defer(() => dispatcher.close());
  const authorization = `Bearer ${token}`;
  const ask: ApiServer['request'] = async (method, path, { body, contentType, accept } = {}) => {
    const answer = await request(`${origin}${path}`, {
      dispatcher,
      method,
      headers: {
        authorization,
        accept: accept ?? 'application/json',
        'content-type': contentType ?? 'application/json',
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    const isJson = `${answer.headers['content-type']}`.includes('json');
    return {
      status: answer.statusCode,
      body: isJson ? JSON.parse(text) : text,
      warnings: `${answer.headers['warning'] ?? ''}`,
    };
  };
  await eventually(async () => {
    const { status } = await ask('GET', '/readyz');
    if (status !== 200) throw new Error(`the API server is not ready: ${status}\n${await readFile(log, 'utf8')}`);
  }, 60_000);
  const kubeconfig = await file(
    'kubeconfig',
    JSON.stringify({
      clusters: [{ name: 'test', cluster: { server: origin, 'certificate-authority-data': ca.toString('base64') } }],
      users: [{ name: 'test', user: { token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      'current-context': 'test',
    }),
  );
  const owned = starting.move();
  return { kubeconfig, request: ask, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function startServer(program: string, log: string, flags: readonly string[]): Promise<AsyncDisposable> {
  await using output = await open(log, 'w');
  const child = spawn(program, flags, { stdio: ['ignore', output.fd, output.fd] });
  const exited = once(child, 'exit');
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
