import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { startApiServer } from '#api/api-server.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { readSvid, type Svid } from '#certs/svid.ts';
import type { TrustBundles } from '#certs/trust-bundle.ts';
import { systemClock } from '#runtime/clock.ts';
import { silentLogger } from '#runtime/logger.ts';
import { WatchSource } from '#runtime/watch.ts';
import { RateLimiter } from '#traffic/gcra.ts';
import { callHttp } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { globalTrustDomain } from '../support/identity-setting.ts';
import { type LogLines, logLines } from '../support/log-lines.ts';
import { type Cell, startCell } from '../support/start-cell.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority } from '../support/test-authority.ts';

const clock = systemClock;
const own = parseTrustDomain('cell-1.cellmesh.localhost');

/** Answers where the control plane should, as somebody else. */
async function startImpostor(svid: Svid, bundles: TrustBundles) {
  let refused = 0;
  const server = await startApiServer({
    host: '127.0.0.1',
    port: 0,
    identity: new WatchSource({ svid, bundles }),
    domains: { own, global: globalTrustDomain },
    services: [],
    rateLimiter: new RateLimiter(clock),
    clock,
    logger: silentLogger,
    onRefused: () => {
      refused++;
    },
  });
  return {
    flags: { controlPlane: `127.0.0.1:${server.address.port}` },
    connections: () => refused,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** What a sidecar that cannot join says in each of its places, and how often. */
async function assertWaitsFor(cell: Cell, lines: LogLines, expected: RegExp, answers: () => number): Promise<void> {
  const { sidecar } = cell.services.delivery;
  await eventually(() => assert.match(sidecar.notReady().join(), expected));
  const asked = answers();
  await eventually(() => assert.ok(answers() >= asked + 3, 'it keeps trying'));
  const ofDelivery = lines.with(`"instance":"${sidecar.instance}"`);
  const said = ofDelivery.filter(({ reason }) => expected.test(String(reason)));
  assert.equal(said.length, 1, 'one line, however often it is tried');
  assert.equal(ofDelivery.filter(({ level }) => level === 'warn' || level === 'error').length, 2, 'and the one before');
  assert.equal(sidecar.notReady().length, 1);
  const ready = await callHttp({ port: sidecar.ports.health!, path: '/readyz' });
  assert.equal(ready.status, 503);
  assert.match(JSON.parse(ready.body).reasons.join(), expected);
  const started = await callHttp({ port: sidecar.ports.health!, path: '/startupz' });
  assert.equal(started.status, 503);
  assert.match(JSON.parse(started.body).reasons.join(), expected);
  assert.equal((await callHttp({ port: sidecar.ports.health!, path: '/healthz' })).status, 200);
  assert.equal(sidecar.ports.inbound, undefined, 'nobody of the mesh reaches it');
}

describe('a sidecar that cannot join', () => {
  test('is told by name that a control plane of another trust domain answers', async () => {
    const lines = logLines();
    await using cell = await startCell({ logger: lines.logger, withoutSidecars: ['delivery'] });
    const other = await testAuthority(clock, 'cell-2.cellmesh.localhost');
    await using impostor = await startImpostor(await other.issue(controlPlaneId(other.trustDomain)), other.bundles);
    await cell.services.delivery.startSidecar(impostor.flags);
    const expected =
      /is not the control plane of this cell \(trust_domain_unknown: .*cell-2\.cellmesh\.localhost.*\); check --control-plane and --trust-bundle/;
    await assertWaitsFor(cell, lines, expected, () => impostor.connections());
  });

  test('is told by name that a workload of its own cell answers in place of the control plane', async () => {
    const lines = logLines();
    await using cell = await startCell({ logger: lines.logger, withoutSidecars: ['delivery'] });
    await cell.whenReady();
    const { bundles } = await readSvid(join(cell.services.messaging.stateDir, 'svid'), clock.now());
    await using impostor = await startImpostor(await cell.svidOf('messaging'), bundles);
    await cell.services.delivery.startSidecar(impostor.flags);
    const expected =
      /id_unexpected: the peer is spiffe:\/\/cell-1\.cellmesh\.localhost\/ns\/messaging\/sa\/messaging, expected is spiffe:\/\/cell-1\.cellmesh\.localhost\/cellmesh\/control-plane\); check --control-plane/;
    await assertWaitsFor(cell, lines, expected, () => impostor.connections());
  });

  const tokens: Record<string, (cell: Cell) => string | Promise<string>> = {
    'that nobody made': () => `cmj1_${'A'.repeat(43)}`,
    'that is no token': () => 'what?',
    'that was used': async (cell) => {
      const { token } = await cell.controlPlane.joinTokens.create({ id: cell.services.delivery.id });
      await cell.controlPlane.joinTokens.redeem(token.reveal());
      return token.reveal();
    },
    'that has expired': async (cell) => {
      const { id } = cell.services.delivery;
      const { token, expiresAt } = await cell.controlPlane.joinTokens.create({ id, lifetimeMs: 1 });
      await eventually(() => assert.ok(clock.now() > expiresAt));
      return token.reveal();
    },
  };
  for (const [which, make] of Object.entries(tokens)) {
    test(`is told to get another join token than one ${which}, and joins when it is there`, async () => {
      const lines = logLines();
      await using directory = await temporaryDirectory();
      await using cell = await startCell({ logger: lines.logger, withoutSidecars: ['delivery'] });
      const { delivery } = cell.services;
      const joinToken = join(directory.path, 'join-token');
      const text = await make(cell);
      await writeFile(joinToken, text);
      await delivery.startSidecar({ joinToken });
      const expected =
        /the join token is not valid: .* create a new one with 'cellmesh join-token create spiffe:\/\/.*\/sa\/delivery' and write it to /;
      await assertWaitsFor(cell, lines, expected, () => lines.with('SvidIssuer/Join').length);
      assert.doesNotMatch(lines.text(), new RegExp(text.replace('?', '\\?')));

      const { token } = await cell.controlPlane.joinTokens.create({ id: delivery.id });
      await writeFile(joinToken, token.reveal());
      await eventually(() => assert.deepEqual(delivery.sidecar.notReady(), []));
    });
  }

  test("is told that its join token is another workload's, and takes no identity by it", async () => {
    const lines = logLines();
    await using directory = await temporaryDirectory();
    await using cell = await startCell({ logger: lines.logger, withoutSidecars: ['delivery'] });
    const { token } = await cell.controlPlane.joinTokens.create({ id: cell.services.api.id });
    const joinToken = join(directory.path, 'join-token');
    await writeFile(joinToken, token.reveal());
    await cell.services.delivery.startSidecar({ joinToken });
    await eventually(() => assert.equal(lines.with('an SVID of', '/sa/api', 'not of', '/sa/delivery').length, 1));
    assert.notDeepEqual(cell.services.delivery.sidecar.notReady(), []);
  });

  test('waits for a control plane that is not there, and joins when it comes', async () => {
    const lines = logLines();
    await using cell = await startCell({ logger: lines.logger, withoutSidecars: ['delivery'] });
    const { delivery } = cell.services;
    await cell.stopControlPlane();
    await delivery.startSidecar();
    await eventually(() => assert.match(delivery.sidecar.notReady().join(), /does not answer \(.*ECONNREFUSED/));
    await cell.startControlPlane();
    await eventually(() => assert.deepEqual(delivery.sidecar.notReady(), []));
  });
});

describe('a sidecar that stops', () => {
  test('ends at once when it has decided nothing yet', async () => {
    await using cell = await startCell();
    const { sidecar } = cell.services.delivery;
    await cell.services.delivery.stopSidecar();
    assert.equal(sidecar.lifecycle.phase.current.tag, 'stopped');
  });

  test('ends while it waits for its first SVID', async () => {
    await using cell = await startCell({ withoutSidecars: ['delivery'] });
    await cell.stopControlPlane();
    await cell.services.delivery.startSidecar();
    const { sidecar } = cell.services.delivery;
    await cell.services.delivery.stopSidecar();
    assert.equal(sidecar.lifecycle.phase.current.tag, 'stopped');
  });
});
