import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { connect } from 'node:tls';
import { parseCertificate } from '#certs/certificate.ts';
import { serializeTrustBundle } from '#certs/trust-bundle.ts';
import { systemClock } from '#runtime/clock.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { activePolicy } from '#sidecar/active-policy.ts';
import { KeySet } from '#tokens/key-set.ts';
import { runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { type Mesh, startMesh } from '../support/start-mesh.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority } from '../support/test-authority.ts';

const isElsewhere = process.platform !== 'linux' && 'only Linux spreads connections over threads';
const calls = 40;

/** Each over a connection of its own, with a token of its own. */
function manyCalls(mesh: Mesh, { token }: { token?: string } = {}) {
  const one = async () => mesh.callAsRouter({ token: token ?? (await mesh.mint()), method: 'POST', body: 'hello' });
  return Promise.all(Array.from({ length: calls }, one));
}

function statusesOf(responses: readonly { status: number }[]): number[] {
  return [...new Set(responses.map(({ status }) => status))];
}

/** Of the certificates that many new connections are shown. */
async function serialsAt(port: number): Promise<string[]> {
  const one = async () => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    const certificate = socket.getPeerX509Certificate();
    socket.destroy();
    return parseCertificate(certificate!.raw).serial;
  };
  return [...new Set(await Promise.all(Array.from({ length: calls }, one)))];
}

/** Of requests that came in, by all threads or by the first alone. */
async function inboundCount(metrics: Metrics, threads: 'all' | 'first'): Promise<number> {
  if (threads === 'first') {
    const family = (await metrics.snapshot()).find((one) => 'name' in one && one.name === 'cellmesh_requests_total');
    const { values } = family as { values: readonly { labels: { direction: string }; value: number }[] };
    return values.filter(({ labels }) => labels.direction === 'inbound').reduce((sum, { value }) => sum + value, 0);
  }
  const lines = (await metrics.render()).matchAll(/^cellmesh_requests_total\{direction="inbound".*\} (\d+)$/gm);
  return [...lines].reduce((sum, [, value]) => sum + Number(value), 0);
}

describe('a sidecar with two threads', { skip: isElsewhere }, () => {
  test('serves with both, whichever of them the next call of the application comes by; metrics and records are of both', async () => {
    await using mesh = await startMesh({ workers: 2 });
    const responses = await manyCalls(mesh);
    assert.deepEqual(statusesOf(responses), [200], responses[0]!.body);
    const { api, delivery } = mesh.services;
    assert.equal(delivery.application.received.length, calls);
    await eventually(async () => assert.equal(await inboundCount(api.metrics, 'all'), calls));
    const first = await inboundCount(api.metrics, 'first');
    assert.ok(first > 0 && first < calls, `the first thread served ${first} of ${calls}`);
    await api.dataPlane.flushDecisions();
    assert.equal(api.records.filter(({ direction }) => direction === 'inbound').length, calls);
    assert.equal(new Set(api.records.map(({ id }) => id)).size, 2 * calls);
    const { threads, handles } = await api.dataPlane.summary();
    assert.deepEqual([threads, handles], [2, calls]);
  });

  test('decides by a new policy, by new keys and as a new identity in both', async () => {
    await using mesh = await startMesh({ workers: 2 });
    const { api } = mesh.services;
    assert.deepEqual(statusesOf(await manyCalls(mesh)), [200]);

    const renewed = await api.issue();
    api.identity.set(renewed);
    const serial = renewed.svid.chain[0]!.serial;
    await eventually(async () => assert.deepEqual(await serialsAt(api.dataPlane.inboundPort!), [serial]));
    assert.deepEqual(statusesOf(await manyCalls(mesh)), [200]);

    const { snapshot } = api.policy.current!;
    api.policy.set(activePolicy({ ...snapshot, rules: [] }));
    await eventually(async () => assert.deepEqual(statusesOf(await manyCalls(mesh)), [403]));

    api.policy.set(activePolicy(snapshot));
    await eventually(async () => assert.deepEqual(statusesOf(await manyCalls(mesh)), [200]));
    const token = await mesh.mint();
    mesh.keySet.set(KeySet.empty);
    await eventually(async () => assert.deepEqual(statusesOf(await manyCalls(mesh, { token })), [401]));
  });

  test('opens the port of a callee with both', async () => {
    const listenPort = await freePort();
    const editManifests = (text: string) => text.replace(/scopes: \[messages:expire\]\n +/, '');
    await using mesh = await startMesh({ workers: 2, listenPort, editManifests });
    const { api, messaging } = mesh.services;
    const call = () =>
      api.call({
        port: listenPort,
        path: '/v1/expire',
        method: 'POST',
        headers: { 'cellmesh-as': 'self', 'x-next': 'none' },
      });
    const responses = await Promise.all(Array.from({ length: calls }, call));
    assert.deepEqual(statusesOf(responses), [200], responses[0]!.body);
    assert.equal(messaging.application.received.length, calls);
  });

  test('says that the port of a callee is taken, also when the other would share it', async () => {
    const other = createServer().listen({ port: 0, host: '127.0.0.1', reusePort: true });
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    const problems: string[] = [];
    await using mesh = await startMesh({
      workers: 2,
      listenPort: port,
      onListenProblems: (found) => problems.push(...found),
    });
    assert.match(problems.join(), new RegExp(`^cannot listen on 127.0.0.1:${port}: .*EADDRINUSE`));
    assert.deepEqual(statusesOf(await manyCalls(mesh)), [200]);
    other.close();
  });

  test('lets what is in flight end in both, and takes nothing new', async () => {
    const arrived = { count: 0 };
    const release = Promise.withResolvers<void>();
    await using mesh = await startMesh({
      workers: 2,
      handlers: {
        delivery: async () => {
          arrived.count++;
          await release.promise;
          return { status: 200, body: 'late' };
        },
      },
    });
    const pending = manyCalls(mesh);
    await eventually(() => assert.equal(arrived.count, calls));
    const drained = mesh.services.api.dataPlane.drainInbound(10_000);
    await eventually(() => assert.rejects(mesh.callAsRouter({}), /ECONNREFUSED/));
    release.resolve();
    assert.deepEqual(statusesOf(await pending), [200]);
    await drained;
  });

  test('is a process that ends when one of its threads does, and says why', async () => {
    await using directory = await temporaryDirectory();
    const bundle = join(directory.path, 'trust-bundle.json');
    const { authority, trustDomain } = await testAuthority(systemClock);
    await writeFile(bundle, serializeTrustBundle(authority.bundle.current));
    const flags = {
      namespace: 'messaging',
      'service-account': 'api',
      'cell-id': 'cell-1',
      'trust-domain': trustDomain,
      'global-trust-domain': 'cellmesh.localhost',
      'trust-bundle': bundle,
      'state-dir': join(directory.path, 'state'),
      inbound: '127.0.0.1:0',
      outbound: '127.0.0.1:0',
      health: '127.0.0.1:0',
      workers: '2',
    };
    const dying = `import { isMainThread } from 'node:worker_threads';
      if (!isMainThread) setTimeout(() => { throw new Error('it broke') }, 500);`;
    const { code, stderr } = await runCommand(
      ['sidecar', ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])],
      '',
      { CELLMESH_NODE_FLAGS: `--import data:text/javascript,${encodeURIComponent(dying)}` },
    );
    assert.notEqual(code, 0);
    const line = stderr.split('\n').find((one) => one.includes('an error that nobody handled'));
    assert.match(line ?? stderr, /it broke/);
  });
});
