import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toPem } from '#certs/pem.ts';
import { chainPem, privateKeyPem, readSvid, type Svid } from '#certs/svid.ts';
import { bundlesOf, parseTrustBundle } from '#certs/trust-bundle.ts';
import { dialMtls } from '#net/dial.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import type { AccountId } from '#tokens/account-id.ts';
import { callHttp, startApplication } from '../../test/support/application.ts';
import { eventually } from '../../test/support/eventually.ts';
import { startIdentitySetting } from '../../test/support/identity-setting.ts';
import { mintTestToken } from '../../test/support/mint-test-token.ts';
import { temporaryDirectory } from '../../test/support/temporary-directory.ts';
import type { Backend, Candidate, Foreign } from '../candidate.ts';
import { cell, registerKey, startCellControlPlane } from './cellmesh-cell.ts';
import { type BenchSidecar, startSidecar } from './cellmesh-sidecar.ts';

const scope = 'bytes:read';

interface CellmeshOptions extends Pick<Candidate, 'isFor'> {
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
  { name = 'cellmesh', isFor, settings = {} }: CellmeshOptions = {},
): Promise<Candidate> {
  await using starting = new AsyncDisposableStack();
  const root = starting.use(await temporaryDirectory()).path;
  const identity = starting.use(await startIdentitySetting(join(root, 'identity')));
  const handles: string[] = [];
  const application = starting.use(
    await startApplication(({ headers }) => {
      handles.push(String(headers['cellmesh-context']));
      return { status: 200, body: '' };
    }),
  );
  const controlPlane = starting.use(await startCellControlPlane(root, identity, application.port, backend));
  const sidecarOf = async (service: string) => {
    const sidecar = await startSidecar(service, { root, controlPlane, settings });
    starting.defer(() => sidecar.stop());
    return sidecar;
  };
  const callee = await sidecarOf('backend');
  const caller = await sidecarOf('caller');
  const router = await identity.routerSvid('router-1');
  const key = await registerKey(identity, router);
  const mint = (account: number) => mintTestToken(key, { scope, clientId: router.id, account: accountOf(account) });
  const refresh = async () => enter(router, await mint(0), caller, root);
  await refresh();
  let starts = 0;
  const owned = starting.move();
  return {
    name,
    ...(isFor && { isFor }),
    target: { port: caller.outbound, host: 'backend' },
    grpcTarget: { port: caller.outbound, host: `backend:${backend.grpcPort}` },
    get fields() {
      return { 'cellmesh-context': handles.at(-1)! };
    },
    async fieldSets(tokens) {
      for (let account = 1; account <= tokens; account++) await enter(router, await mint(account), caller, root);
      return handles.slice(-tokens).map((handle) => ({ 'cellmesh-context': handle }));
    },
    refresh,
    inboundPids: [callee.process.pid!],
    outboundPids: [caller.process.pid!],
    foreign: async () => foreignOf(callee, root, await mint(0)),
    async timeStart() {
      // Of the caller's service, which nobody calls: the pair that is measured elsewhere does not come to share its requests.
      const options = { root, controlPlane, state: `start-${++starts}` };
      const first = await startSidecar('caller', options);
      await first.stop('SIGKILL');
      const second = await startSidecar('caller', options);
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
async function foreignOf({ inbound }: BenchSidecar, root: string, token: string): Promise<Foreign> {
  const { svid } = await readSvid(join(root, 'caller', 'svid'), systemClock.now());
  const bundle = parseTrustBundle(await readFile(join(root, 'control-plane', 'trust-bundle.json'), 'utf8'), cell);
  return {
    port: inbound,
    host: 'backend',
    certificate: chainPem(svid.chain),
    key: privateKeyPem(svid),
    root: bundle.roots.map(({ der }) => toPem('CERTIFICATE', der)).join(''),
    fields: { 'cellmesh-token': token, 'cellmesh-left': `1 ${scope}` },
  };
}

/** A customer's request comes in at the caller, which gives its application a handle for the calls that it causes. */
async function enter(svid: Svid, token: string, caller: BenchSidecar, root: string): Promise<void> {
  const ownBundle = parseTrustBundle(await readFile(join(root, 'control-plane', 'trust-bundle.json'), 'utf8'), cell);
  const identity = new WatchSource({ svid, bundles: bundlesOf(ownBundle) });
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
