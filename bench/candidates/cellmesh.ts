import { toPem } from '#certs/pem.ts';
import { chainPem, privateKeyPem } from '#certs/svid.ts';
import { dialMtls } from '#net/dial.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import type { AccountId } from '#tokens/account-id.ts';
import { callHttp, startApplication } from '../../test/support/application.ts';
import { eventually } from '../../test/support/eventually.ts';
import { mintTestToken } from '../../test/support/mint-test-token.ts';
import { type ProcessCell, startProcessCell } from '../../test/support/process-cell.ts';
import type { SidecarProcess } from '../../test/support/sidecar-process.ts';
import type { Backend, Candidate, Foreign } from '../candidate.ts';
import { manifests } from './cellmesh-manifests.ts';

const scope = 'bytes:read';
/** For profiles: `--cpu-prof`, `--trace-gc`. */
const nodeFlags = process.env.BENCH_NODE_FLAGS ?? '';
/** The load generator's connections stay open to the end, and nothing is in flight then. */
const atTheEnd = { settle: '0s', drain: '0s' };
const limits = { 'connections-max': '20000', 'idle-timeout': '600s', ...atTheEnd };

interface CellmeshOptions {
  readonly name?: string;
  /** Of both sidecars, beside those that they need. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * A pair of sidecars as processes of their own, doing all of their work: mutual TLS, a customer's token found by its handle, carried on,
 * verified and held against policy, and a decision logged on both sides. Identity and control plane run beside them, idle.
 */
export async function startCellmesh(
  backend: Backend,
  { name = 'cellmesh', settings = {} }: CellmeshOptions = {},
): Promise<Candidate> {
  await using starting = new AsyncDisposableStack();
  const handles: string[] = [];
  const application = starting.use(
    await startApplication(({ headers }) => {
      handles.push(String(headers['cellmesh-context']));
      return { status: 200, body: '' };
    }),
  );
  const policy = manifests(application.port, backend);
  const cell = starting.use(await startProcessCell({ namespace: 'bench', manifests: policy, scopes: [scope] }));
  const flags = { ...limits, ...settings };
  const callee = await cell.startSidecar('backend', { flags, nodeFlags });
  const caller = await cell.startSidecar('caller', { flags, nodeFlags });
  const mint = (account: number) =>
    mintTestToken(cell.signingKey, { scope, clientId: cell.router.id, account: accountOf(account) });
  const refresh = async () => enter(cell, await mint(0), caller);
  await refresh();
  let starts = 0;
  const owned = starting.move();
  return {
    name,
    compilesAtRunTime: true,
    target: { port: caller.outbound, host: 'backend' },
    grpcTarget: { port: caller.outbound, host: `backend:${backend.grpcPort}` },
    get fields() {
      return { 'cellmesh-context': handles.at(-1)! };
    },
    async fieldSets(tokens) {
      for (let account = 1; account <= tokens; account++) await enter(cell, await mint(account), caller);
      return handles.slice(-tokens).map((handle) => ({ 'cellmesh-context': handle }));
    },
    refresh,
    inboundPids: [callee.pid],
    outboundPids: [caller.pid],
    foreign: async () => foreignOf(cell, caller, callee, await mint(0)),
    async timeStart() {
      // Of the caller's service, which nobody calls: the pair that is measured elsewhere does not come to share its requests.
      const options = { flags, nodeFlags, state: `start-${++starts}` };
      const first = await cell.startSidecar('caller', options);
      await first.stop('SIGKILL');
      const second = await cell.startSidecar('caller', options);
      await second.stop('SIGKILL');
      return { 'join token': first.readyMs, state: second.readyMs };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function accountOf(number: number): AccountId {
  return `AC${number.toString(16).padStart(32, '0')}` as AccountId;
}

/** The caller's identity, and the header lines of its sidecar, in the hands of another client. */
async function foreignOf(
  cell: ProcessCell,
  caller: SidecarProcess,
  { inbound }: SidecarProcess,
  token: string,
): Promise<Foreign> {
  const svid = await cell.svidOf(caller);
  const roots = [...cell.bundles.values()].flatMap((bundle) => bundle.roots);
  return {
    port: inbound,
    host: 'backend',
    certificate: chainPem(svid.chain),
    key: privateKeyPem(svid),
    root: roots.map(({ der }) => toPem('CERTIFICATE', der)).join(''),
    fields: { 'cellmesh-token': token, 'cellmesh-left': `1 ${scope}` },
  };
}

/** A customer's request comes in at the caller, which gives its application a handle for the calls that it causes. */
async function enter({ router, bundles }: ProcessCell, token: string, caller: SidecarProcess): Promise<void> {
  const identity = new WatchSource({ svid: router, bundles });
  await eventually(async () => {
    const { socket } = await dialMtls({
      host: '127.0.0.1',
      port: caller.inbound,
      identity,
      expect: caller.id,
      alpn: ['http/1.1'],
      clock: systemClock,
    });
    const headers = { 'cellmesh-token': token };
    const { status, body } = await callHttp({ socket, authority: 'caller', path: '/start', headers });
    socket.destroy();
    if (status !== 200) throw new Error(`${status} ${body}`);
  }, 20_000);
}
