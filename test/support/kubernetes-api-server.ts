import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Agent, request } from 'undici';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import type { KubernetesPrograms } from './kubernetes-programs.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const run = promisify(execFile);

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

/** etcd and an API server on loopback, without nodes, controllers and admission by service accounts: everything that is there is made by the test. */
export interface ApiServer extends AsyncDisposable {
  /** Of an administrator, with a client certificate in files; for `kubectl` too. */
  readonly kubeconfig: string;
  readonly directory: string;
  readonly url: string;
  /** The server's authority, PEM. */
  readonly authority: string;
  /** As the administrator. */
  request(method: Method, path: string, options?: ApiRequest): Promise<ApiAnswer>;
  /** A kubeconfig file with a bearer token. */
  kubeconfigAs(name: string, token: string): Promise<string>;
  stop(): Promise<void>;
  /** At the same port, with the same state. */
  start(): Promise<void>;
  /** Everything older than now is forgotten by etcd. */
  compact(): Promise<void>;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export async function startApiServer(programs: KubernetesPrograms): Promise<ApiServer> {
  await using starting = new AsyncDisposableStack();
  const directory = starting.use(await temporaryDirectory()).path;
  const [etcdPort, peerPort, port] = await Promise.all([freePort(), freePort(), freePort()]);
  const pki = join(directory, 'pki');
  await makeCertificates(pki);
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const etcd = await spawned(directory, programs.etcd, [
    `--data-dir=${join(directory, 'etcd')}`,
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
    '--unsafe-no-fsync',
  ]);
  starting.defer(() => ended(etcd));
  const url = `https://127.0.0.1:${port}`;
  const kubeconfig = join(directory, 'kubeconfig');
  await writeKubeconfig(kubeconfig, url, { 'client-certificate': 'pki/admin.crt', 'client-key': 'pki/admin.key' });
  const [ca, cert, key] = await Promise.all(
    ['ca.crt', 'admin.crt', 'admin.key'].map((name) => readFile(join(pki, name), 'utf8')),
  );
  const dispatcher = new Agent({ connect: { ca: ca!, cert: cert!, key: key! } });
  starting.defer(() => dispatcher.destroy());
  const ask: ApiServer['request'] = (method, path, options) => requested(url + path, dispatcher, method, options);
  let server: ChildProcess | undefined;
  const stop = async () => {
    if (server !== undefined) await ended(server);
    server = undefined;
  };
  const start = async () => {
    server = await spawned(directory, programs.apiServer, apiServerArguments(pki, etcdUrl, port, url));
    await untilReady(server, directory, ask);
  };
  starting.defer(stop);
  await start();
  const owned = starting.move();
  return {
    ...{ kubeconfig, directory, url, authority: ca!, request: ask, stop, start },
    kubeconfigAs: async (name, token) => {
      const file = join(directory, `${name}.kubeconfig`);
      await writeKubeconfig(file, url, { token });
      return file;
    },
    compact: () => compactEtcd(etcdUrl),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function untilReady(server: ChildProcess, directory: string, ask: ApiServer['request']): Promise<void> {
  const log = () => readFile(join(directory, 'kube-apiserver.log'), 'utf8');
  await eventually(
    async () => {
      if (server.exitCode !== null) throw new Error(`the API server ended: ${await log()}`);
      const { status } = await ask('GET', '/readyz');
      if (status !== 200) throw new Error(`the API server is not ready: ${status}\n${await log()}`);
    },
    60_000,
    100,
  );
}

async function requested(
  url: string,
  dispatcher: Agent,
  method: Method,
  { body, contentType = 'application/json', accept = 'application/json' }: ApiRequest = {},
): Promise<ApiAnswer> {
  const answer = await request(url, {
    dispatcher,
    method,
    headers: { accept, ...(body !== undefined && { 'content-type': contentType }) },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await answer.body.text();
  const isJson = `${answer.headers['content-type']}`.includes('json');
  return {
    status: answer.statusCode,
    body: isJson ? JSON.parse(text) : text,
    warnings: `${answer.headers['warning'] ?? ''}`,
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
    '--allow-privileged=true',
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

async function compactEtcd(url: string): Promise<void> {
  const post = async (path: string, body: object) => {
    const { statusCode, body: answer } = await request(url + path, { method: 'POST', body: JSON.stringify(body) });
    if (statusCode !== 200) throw new Error(`${path}: ${statusCode} ${await answer.text()}`);
    return (await answer.json()) as { header: { revision: string } };
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
