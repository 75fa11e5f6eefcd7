import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { bundlesOf } from '#certs/trust-bundle.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import { removedFields } from '#sidecar/header-rules.ts';
import { listenMesh } from '#sidecar/mesh-listener.ts';
import { forward } from '#wire/forward.ts';
import { listenPlain } from '#wire/listen-plain.ts';
import { applicationUpstream, MeshUpstreams } from '#wire/mesh-upstreams.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { callHttp, startApplication } from '../support/application.ts';
import { type TestAuthority, testAuthority } from '../support/test-authority.ts';

const clock = systemClock;

interface Pair extends AsyncDisposable {
  readonly port: number;
  readonly callerTls: WatchSource<TlsIdentity>;
  readonly calleeTls: WatchSource<TlsIdentity>;
  readonly refused: string[];
}

/** Application <- loopback <- mTLS <- loopback <- client: the plumbing of two sidecars without a decision. */
async function startPair(
  cell: TestAuthority,
  callee: Svid,
  caller: Svid,
  expect: SpiffeId,
  application: number,
): Promise<Pair> {
  const stack = new AsyncDisposableStack();
  const calleeTls = new WatchSource<TlsIdentity>({ svid: callee, bundles: cell.bundles });
  const callerTls = new WatchSource<TlsIdentity>({ svid: caller, bundles: cell.bundles });
  const refused: string[] = [];
  const local = stack.use(new UpstreamPool({ clock }));
  const inbound = stack.use(
    await listenMesh(
      (exchange) => {
        const { path } = exchange.request;
        const request = {
          drop: removedFields.inboundRequest,
          append: `cellmesh-caller: ${exchange.context.id}\r\n`,
        };
        forward(exchange, {
          client: local,
          upstream: applicationUpstream('127.0.0.1', application),
          target: path,
          request,
        });
      },
      { host: '127.0.0.1', port: 0, identity: calleeTls, clock, onPeerRefused: ({ rule }) => refused.push(rule) },
    ),
  );
  const upstreams = stack.use(new MeshUpstreams({ identity: callerTls, clock }));
  const outbound = stack.use(
    await listenPlain(
      (exchange) => {
        const { path } = exchange.request;
        const request = { drop: removedFields.outboundRequest, append: '' };
        const upstream = upstreams.to(expect, { host: '127.0.0.1', port: inbound.address.port });
        forward(exchange, { client: upstreams.pool, upstream, target: path, authority: 'callee', request });
      },
      { host: '127.0.0.1', port: 0, clock, contextOf: () => undefined },
    ),
  );
  return {
    port: outbound.address.port,
    callerTls,
    calleeTls,
    refused,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function ids(cell: TestAuthority) {
  const of = (name: string) => workloadId(cell.trustDomain, 'messaging', name);
  return { api: of('api'), messaging: of('messaging'), delivery: of('delivery') };
}

describe('a pair of sidecars without policy', () => {
  test('passes a request over mutual TLS and strips what only the mesh may write', async () => {
    const cell = await testAuthority(clock);
    const { api, messaging } = ids(cell);
    await using application = await startApplication();
    await using pair = await startPair(
      cell,
      await cell.issue(messaging),
      await cell.issue(api),
      messaging,
      application.port,
    );
    const headers = { 'cellmesh-caller': 'spiffe://evil', cellmesh_caller: 'evil', 'x-forwarded-client-cert': 'evil' };
    const answer = await callHttp({ port: pair.port, path: '/v1/x?y=1', headers, body: 'hello' });
    assert.equal(answer.status, 200);
    const [received] = application.received;
    assert.equal(received?.url, '/v1/x?y=1');
    assert.equal(received?.body, 'hello');
    assert.equal(received?.headers['cellmesh-caller'], api);
    assert.ok(!received?.rawHeaders.some((text) => text.includes('evil')));
  });

  test('a peer that is not who it must be gets no request', async () => {
    const cell = await testAuthority(clock);
    const { api, messaging, delivery } = ids(cell);
    await using application = await startApplication();
    await using pair = await startPair(
      cell,
      await cell.issue(delivery),
      await cell.issue(api),
      messaging,
      application.port,
    );
    assert.equal((await callHttp({ port: pair.port })).status, 503);
    assert.equal(application.received.length, 0);
  });

  test('a caller of a foreign trust domain is refused in the handshake', async () => {
    const cell = await testAuthority(clock);
    const foreign = await testAuthority(clock, 'cell-2.example.com');
    const { messaging } = ids(cell);
    await using application = await startApplication();
    const caller = await foreign.issue(ids(foreign).api);
    await using pair = await startPair(cell, await cell.issue(messaging), caller, messaging, application.port);
    assert.ok((await callHttp({ port: pair.port })).status >= 500);
    assert.deepEqual([...new Set(pair.refused)], ['trust_domain_unknown']);
    assert.equal(application.received.length, 0);
  });

  test('SVIDs that live three seconds are replaced under load without a failed request', async () => {
    const cell = await testAuthority(clock, 'cell-1.example.com', { backdateMs: 1_000 });
    const { api, messaging } = ids(cell);
    await using application = await startApplication();
    const lifetimeMs = 3_000;
    await using pair = await startPair(
      cell,
      await cell.issue(messaging, lifetimeMs),
      await cell.issue(api, lifetimeMs),
      messaging,
      application.port,
    );
    let running = true;
    const statuses = new Map<number, number>();
    const load = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (running) {
          const { status } = await callHttp({ port: pair.port });
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
          await delay(10);
        }
      }),
    );
    const serials = new Set<string>();
    for (let renewal = 0; renewal < 6; renewal++) {
      await delay(900);
      const bundles = bundlesOf(cell.authority.bundle.current);
      pair.calleeTls.set({ svid: await cell.issue(messaging, lifetimeMs), bundles });
      pair.callerTls.set({ svid: await cell.issue(api, lifetimeMs), bundles });
      serials.add(pair.callerTls.current.svid.chain[0]!.serial);
    }
    running = false;
    await load;
    assert.equal(serials.size, 6);
    assert.deepEqual([...statuses.keys()], [200]);
    assert.ok(statuses.get(200)! > 500);
  });
});
