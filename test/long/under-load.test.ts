import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { parseTrustBundle, serializeTrustBundle } from '#certs/trust-bundle.ts';
import { ageMsMax } from '#feeds/feed-client.ts';
import { systemClock } from '#runtime/clock.ts';
import { sidecarState } from '../support/admin-socket.ts';
import { eventually } from '../support/eventually.ts';
import { type Load, type LoadReport, startLoad } from '../support/load.ts';
import { logLines } from '../support/log-lines.ts';
import { serviceNames } from '../support/messaging-application.ts';
import { router } from '../support/mint-test-token.ts';
import { type Cell, startCell } from '../support/start-cell.ts';
import { testAuthority } from '../support/test-authority.ts';

const perSecond = 100;

/** A POST through the three services, over connections that stay open. */
async function chainLoad(cell: Cell): Promise<Load> {
  const client = await cell.routerClient('api');
  const headers = { host: `api:${cell.services.api.application.port}`, 'cellmesh-token': await cell.mint() };
  const call = { method: 'POST', path: '/v1/messages', headers, body: 'hello' };
  return startLoad({ perSecond, send: () => client.call(call) });
}

function assertNoneFailed({ failures, sent, succeeded }: LoadReport): void {
  assert.deepEqual(failures.slice(0, 3), []);
  assert.equal(succeeded, sent);
}

async function editManifests({ manifestsDir }: Cell, edit: (text: string) => string): Promise<void> {
  const path = join(manifestsDir, 'services.yaml');
  const before = await readFile(path, 'utf8');
  const after = edit(before);
  assert.notEqual(after, before);
  await writeFile(path, after);
}

describe('under constant load', () => {
  test('every SVID is renewed again and again, and no request fails', async () => {
    const controlPlaneFlags = { svidLifetime: '6s' };
    await using cell = await startCell({ controlPlaneFlags, sidecarFlags: { svidRenewal: '1s' } });
    await using load = await chainLoad(cell);
    const seen = { api: new Set<string>(), messaging: new Set<string>(), delivery: new Set<string>() };
    await eventually(async () => {
      for (const name of serviceNames) seen[name].add((await cell.svidOf(name)).chain[0]!.serial);
      for (const name of serviceNames) assert.ok(seen[name].size > 7, `${name} has had ${seen[name].size} SVIDs`);
    }, 20_000);
    assertNoneFailed(await load.stop());
  });

  test('the control plane goes and comes back, and no request fails', async () => {
    await using cell = await startCell();
    await using load = await chainLoad(cell);
    await load.next(perSecond);
    await cell.stopControlPlane();
    await load.next(perSecond);
    await cell.startControlPlane();
    await eventually(async () => {
      const { controlPlane } = await sidecarState(cell.services.api.stateDir);
      assert.equal((controlPlane as { isConnected: boolean }).isConnected, true);
    });
    await load.next(perSecond);
    assertNoneFailed(await load.stop());
  });

  for (const isAway of [false, true]) {
    const where = isAway ? ', with the control plane away' : '';
    test(`a sidecar is stopped and started${where}: what it left behind fails with 502 or 503, what comes after it is ready does not`, async () => {
      await using cell = await startCell();
      await using load = await chainLoad(cell);
      await load.next(perSecond);
      if (isAway) await cell.stopControlPlane();
      const stoppedMs = load.nowMs;
      await cell.services.messaging.stopSidecar();
      await load.next(20);
      await cell.services.messaging.startSidecar();
      await eventually(() => assert.deepEqual(cell.services.messaging.sidecar.notReady(), []));
      // Its caller learns of it a moment later.
      const { succeeded } = load.report;
      await eventually(() => assert.ok(load.report.succeeded > succeeded));
      const readyMs = load.nowMs;
      await load.next(perSecond);
      const { failures } = await load.stop();
      assert.ok(failures.length > 0, 'it was away');
      for (const { status, atMs, text } of failures) {
        assert.ok(status === 502 || status === 503, `${status} ${text}`);
        assert.ok(
          atMs > stoppedMs - 100 && atMs < readyMs,
          `failed at ${atMs}, away from ${stoppedMs} to ${readyMs}: ${text}`,
        );
      }
    });
  }

  test('a sidecar that comes back at another port is found, and no request fails from then on', async () => {
    await using cell = await startCell();
    await using load = await chainLoad(cell);
    await load.next(perSecond);
    const { messaging } = cell.services;
    const before = messaging.sidecar.ports.inbound;
    await messaging.stopSidecar();
    await messaging.startSidecar({ inbound: '127.0.0.1:0' });
    assert.notEqual(messaging.sidecar.ports.inbound, before);
    await cell.whenReady();
    await eventually(async () => {
      const { endpoints } = await sidecarState(cell.services.api.stateDir);
      assert.match(JSON.stringify(endpoints), new RegExp(`"port":${messaging.sidecar.ports.inbound}\\b`));
    });
    const knownMs = load.nowMs;
    await load.next(2 * perSecond);
    const { failures } = await load.stop();
    assert.deepEqual(
      failures.filter(({ atMs }) => atMs > knownMs),
      [],
    );
  });

  test('a policy that is pushed decides the next request; the one before it is allowed', async () => {
    await using cell = await startCell();
    const { delivery } = cell.services;
    await using load = await chainLoad(cell);
    await load.next(perSecond);
    const { policy: before } = await sidecarState(delivery.stateDir);
    const pushedMs = load.nowMs;
    await editManifests(cell, (text) =>
      text.replace('{ name: deliver, from: [messaging/messaging]', '{ name: deliver, from: [messaging/api]'),
    );
    await eventually(async () =>
      assert.notEqual((await sidecarState(delivery.stateDir)).policy?.version, before?.version),
    );
    const inForceMs = load.nowMs;
    await load.next(perSecond / 2);
    const { failures, succeeded, sent } = await load.stop();
    assert.ok(failures.every(({ status, atMs }) => status === 403 && atMs > pushedMs));
    const after = failures.filter(({ atMs }) => atMs > inForceMs).length;
    assert.ok(after > 0);
    assert.equal(failures.length + succeeded, sent);
    const record = await cell.findDecision(
      String(JSON.parse(failures.at(-1)!.text.split(' ').slice(1).join(' ')).next.next.decision),
    );
    assert.equal(record.service, 'messaging/delivery');
    assert.equal(record.reason, 'peer_not_allowed');
  });

  test('a bad policy is refused by file, line and reason, and the old one goes on deciding', async () => {
    const lines = logLines();
    await using cell = await startCell({ logger: lines.logger });
    await using load = await chainLoad(cell);
    await load.next(perSecond / 2);
    const { policy: before } = await sidecarState(cell.services.delivery.stateDir);
    await editManifests(cell, (text) =>
      text.replace('scopes: [messages:write] }\n    - { name: peek', 'scopes: [messages:steal] }\n    - { name: peek'),
    );
    await eventually(() => assert.equal(lines.with('manifests are refused').length, 1));
    const [line] = lines.with('manifests are refused');
    assert.match(String((line!.problems as string[])[0]), /^services\.yaml:\d+:\d+: .*messages:steal/);
    await load.next(perSecond / 2);
    const { policy: after } = await sidecarState(cell.services.delivery.stateDir);
    assert.equal(after?.version, before?.version);
    assertNoneFailed(await load.stop());
  });

  test('new keys are taken up and drop no connection', async () => {
    await using cell = await startCell();
    await using load = await chainLoad(cell);
    const held = await cell.dialAsRouter('api');
    const key = await cell.addSigningKey();
    const token = await cell.mint({ key });
    await eventually(async () => assert.equal((await cell.callAsRouter({ token })).status, 200));
    assert.equal(held.destroyed, false);
    held.destroy();
    assertNoneFailed(await load.stop());
  });

  test('a new trust bundle lets its peers in and drops none of the others', async () => {
    await using cell = await startCell();
    await using load = await chainLoad(cell);
    const held = await cell.dialAsRouter('api');
    const trustDomain = parseTrustDomain('cellmesh.localhost');
    const next = await testAuthority(systemClock, trustDomain);
    const svid = await next.issue(router);
    const authority = `api:${cell.services.api.application.port}`;
    const headers = { 'cellmesh-token': await cell.mint() };
    const call = () => cell.callAs(svid, 'api', { authority, path: '/v1/local', headers });
    await assert.rejects(call());
    const bundle = parseTrustBundle(await readFile(cell.globalBundleFile, 'utf8'), trustDomain);
    const roots = [...bundle.roots, next.rootSigner.certificate];
    await cell.stopControlPlane();
    await writeFile(cell.globalBundleFile, serializeTrustBundle({ ...bundle, sequence: bundle.sequence + 1, roots }));
    await cell.startControlPlane();
    await eventually(async () => assert.equal((await call()).status, 200));
    assert.equal(held.destroyed, false);
    held.destroy();
    assertNoneFailed(await load.stop());
  });
});

describe('a sidecar whose state is too old', () => {
  test('refuses with a reason of its own until the control plane has spoken', async () => {
    await using cell = await startCell();
    const { api } = cell.services;
    await cell.stopControlPlane();
    await api.stopSidecar();
    const feeds = join(api.stateDir, 'feeds');
    for (const name of await readdir(feeds)) {
      const stored = JSON.parse(await readFile(join(feeds, name), 'utf8'));
      const confirmedAt = stored.confirmedAt - ageMsMax - 60_000;
      await writeFile(join(feeds, name), JSON.stringify({ ...stored, confirmedAt }));
    }
    await api.startSidecar();
    assert.match(api.sidecar.notReady().join(), /state_stale: the control plane has been away for longer/);
    const token = await cell.mint();
    const refused = await cell.callAsRouter({ token });
    assert.equal(refused.status, 503);
    assert.equal(JSON.parse(refused.body).reason, 'state_stale');
    assert.equal(JSON.parse((await api.call({ authority: 'messaging' })).body).reason, 'state_stale');

    await cell.startControlPlane();
    await cell.whenReady();
    assert.equal((await cell.callAsRouter({ token })).status, 200);
  });
});
