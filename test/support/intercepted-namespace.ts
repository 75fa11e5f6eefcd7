import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { openOriginalDestination } from '#net/original-destination.ts';
import { activePolicy } from '#sidecar/active-policy.ts';
import { startApplication } from './application.ts';
import type { Dial, Heard } from './intercepted-client.ts';
import { startPortMesh } from './port-mesh.ts';
import { type Mesh, startMesh } from './start-mesh.ts';

/**
 * Run in a network namespace of its own, with a second one as the outside world: sidecars of a mesh, an application's user whose connections are redirected by
 * real rules, and what came of each. Prints one JSON object; tests say what it must be.
 */
export interface Outcomes {
  readonly ipv4: string;
  readonly ipv6: string;
  readonly callees: readonly (string | undefined)[];
  readonly undeclared: string;
  readonly undeclaredRecord: { readonly reason?: string | undefined; readonly actual?: string | undefined };
  readonly exceptAddress: string;
  readonly exceptPort: string;
  readonly ownUser: string;
  readonly straightToSidecar: string;
  readonly recordsOfOwnUser: number;
  readonly fromOutside: string;
  readonly fromOutsideToOpenPort: string;
  /** Without TLS, to the application's own port: while the sidecar is strict, and while it hears such callers. */
  readonly plaintext: { readonly strict: string; readonly heard: string; readonly undeclaredPort: string };
  readonly plaintextRecord: {
    readonly peer?: string | undefined;
    readonly address?: string | undefined;
    readonly rule?: string | undefined;
    readonly isOwnPort: boolean;
  };
  readonly opaque: string;
  readonly afterRemoval: string;
  readonly rulesLeft: string;
}

const backend = process.argv[2]!;
const command = join(import.meta.dirname, '../../cellmesh');
const ours = { v4: '10.99.0.1', v6: 'fd99::1' };
const applicationUid = 4242;
const nothing = 'nothing';

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

/** The world outside: a namespace at the other end of a pair of virtual interfaces. */
async function connectOutside(): Promise<ChildProcess> {
  run('ip', 'link', 'set', 'lo', 'up');
  run('ip', 'link', 'add', 'pod0', 'type', 'veth', 'peer', 'name', 'outside0');
  const holder = spawn('unshare', ['--net', 'sh', '-c', 'echo there; exec sleep 120'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout!, 'data');
  run('ip', 'link', 'set', 'outside0', 'netns', String(holder.pid));
  run('ip', 'addr', 'add', `${ours.v4}/24`, 'dev', 'pod0');
  run('ip', '-6', 'addr', 'add', `${ours.v6}/64`, 'dev', 'pod0', 'nodad');
  run('ip', 'link', 'set', 'pod0', 'up');
  const outside = (...args: readonly string[]) => run('nsenter', `--net=/proc/${holder.pid}/ns/net`, ...args);
  outside('ip', 'addr', 'add', '10.99.0.254/24', 'dev', 'outside0');
  outside('ip', 'link', 'set', 'outside0', 'up');
  run('ip', 'route', 'add', 'default', 'via', '10.99.0.254');
  return holder;
}

async function startClient(args: readonly string[], through: readonly string[] = []): Promise<ChildProcess> {
  const file = join(import.meta.dirname, 'intercepted-client.ts');
  const [execPath = process.execPath, ...execArgv] = [...through, ...(through.length > 0 ? [process.execPath] : [])];
  const client = fork(file, args, { execPath, execArgv });
  await once(client, 'message');
  return client;
}

async function dial(client: ChildProcess, host: string, port: number, text: string, waitMs = 3_000): Promise<string> {
  client.send({ host, port, text, waitMs } satisfies Dial);
  const [heard] = (await once(client, 'message')) as [Heard];
  return heard.text ?? nothing;
}

function get(path: string, context = ''): string {
  const field = context === '' ? '' : `cellmesh-context: ${context}\r\n`;
  return `GET ${path} HTTP/1.1\r\nhost: any.example\r\n${field}connection: close\r\n\r\n`;
}

const statusOf = (answer: string) => answer.split('\r\n')[0]!;

async function contextOf(mesh: Mesh): Promise<string> {
  await mesh.callAsRouter({ token: await mesh.mint(), path: '/v1/local' });
  return String(mesh.services.api.application.received[0]?.headers['cellmesh-context']);
}

async function main(): Promise<Outcomes> {
  await using stack = new AsyncDisposableStack();
  const holder = await connectOutside();
  stack.defer(() => void holder.kill());
  const destinationOf = await openOriginalDestination();
  const resolve = async (host: string) => {
    if (host === 'messaging') return ['10.99.0.5', 'fd99::5'];
    throw new Error('no such host');
  };
  const interception = { port: 0, destinationOf, resolve };
  const open = '{ name: open, from: [unmeshed], account: none }';
  const mesh = stack.use(
    await startMesh({
      interception,
      inboundHost: '0.0.0.0',
      editManifests: (text) => text.replace('allow:\n', (found) => `${found}    - ${open}\n`),
    }),
  );
  const { api } = mesh.services;
  const context = await contextOf(mesh);
  const exposed = stack.use(await startApplication(undefined, '0.0.0.0'));
  const probed = stack.use(await startApplication(undefined, '0.0.0.0'));

  const client = await startClient([String(applicationUid)]);
  const ownUser = await startClient([]);
  const outside = await startClient([], ['nsenter', `--net=/proc/${holder.pid}/ns/net`]);
  stack.defer(() => {
    for (const child of [client, ownUser, outside]) child.disconnect();
  });

  const install = (outboundPort: number) =>
    run(
      command,
      ...['intercept', 'install', '--backend', backend, '--uid', '0', '--outbound-port', String(outboundPort)],
      ...['--inbound-port', String(api.dataPlane.inboundPort), '--open-port', String(probed.port)],
      ...['--except-to', '10.99.0.77,fd99::77', '--except-port', '9999'],
    );
  // Twice: the second replaces the first.
  install(api.dataPlane.interceptedPort!);
  install(api.dataPlane.interceptedPort!);

  const asked = get('/v1/messages', context);
  const ipv4 = statusOf(await dial(client, '10.99.0.5', 80, asked));
  const ipv6 = statusOf(await dial(client, 'fd99::5', 80, asked));
  const callees = api.records.filter(({ direction }) => direction === 'outbound').map(({ callee }) => callee);
  const undeclared = await dial(client, '10.99.0.9', 443, asked);
  const undeclaredRecord = api.records.at(-1);
  const recordsBefore = api.records.length;
  const exceptAddress = await dial(client, '10.99.0.77', 80, asked, 300);
  const exceptPort = await dial(client, '10.99.0.5', 9999, asked, 300);
  const ofOwnUser = await dial(ownUser, '10.99.0.5', 80, asked, 300);
  const recordsOfOwnUser = api.records.length - recordsBefore;
  const straightToSidecar = await dial(client, '127.0.0.1', api.dataPlane.interceptedPort!, asked);
  const fromOutside = await dial(outside, ours.v4, exposed.port, get('/'));
  const fromOutsideToOpenPort = statusOf(await dial(outside, ours.v4, probed.port, get('/')));

  const { port: ownPort } = api.application;
  const strict = await dial(outside, ours.v4, ownPort, get('/'));
  const { snapshot } = api.policy.current!;
  api.policy.set(activePolicy({ ...snapshot, plaintextUntilMs: Date.now() + 3_600_000 }));
  const heard = statusOf(await dial(outside, ours.v4, ownPort, get('/v1/local')));
  const { peer, address, rule, port: recordedPort } = api.records.at(-1)!;
  const undeclaredPort = statusOf(await dial(outside, ours.v4, exposed.port, get('/')));

  const store = createServer((socket) => socket.on('error', () => {}).end('hello from the store')).listen(
    0,
    '127.0.0.1',
  );
  stack.defer(() => void store.close());
  await once(store, 'listening');
  const { port } = store.address() as AddressInfo;
  const opaqueMesh = stack.use(
    await startPortMesh(port, ['{ name: store, from: [messaging/api], account: none }'], 'tcp', { interception }),
  );
  install(opaqueMesh.mesh.services.api.dataPlane.interceptedPort!);
  const opaque = await dial(client, '10.99.0.5', port, 'hello');

  run(command, 'intercept', 'remove', '--backend', backend);
  run(command, 'intercept', 'remove', '--backend', backend);
  const afterRemoval = await dial(client, '10.99.0.5', 80, asked, 300);
  const rulesLeft =
    backend === 'nftables'
      ? run('nft', 'list', 'tables')
      : ['iptables', 'ip6tables'].map((program) => run(program, '-t', 'nat', '-S')).join('');
  return {
    ipv4,
    ipv6,
    callees,
    undeclared,
    undeclaredRecord: { reason: undeclaredRecord?.reason, actual: undeclaredRecord?.failed?.actual },
    exceptAddress,
    exceptPort,
    ownUser: ofOwnUser,
    recordsOfOwnUser,
    straightToSidecar,
    fromOutside,
    fromOutsideToOpenPort,
    plaintext: { strict, heard, undeclaredPort },
    plaintextRecord: { peer, address, rule, isOwnPort: recordedPort === ownPort },
    opaque,
    afterRemoval,
    rulesLeft: rulesLeft
      .split('\n')
      .filter((line) => /cellmesh/i.test(line))
      .join('\n'),
  };
}

const outcomes = await main();
process.stdout.write(`${JSON.stringify(outcomes)}\n`, () => process.exit());
