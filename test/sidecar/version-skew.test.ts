import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import type { FeedSnapshot } from '#feeds/snapshot.ts';
import { type DecisionRecord, parseDecisionRecord } from '#policy/decision-record.ts';
import { explain } from '#policy/explain/explain-record.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { callHttp, type HttpResponse } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { logLines } from '../support/log-lines.ts';
import { otherControlPlane } from '../support/other-control-plane.ts';
import { type Cell, startCell } from '../support/start-cell.ts';

/*
 * PAINS.md P19 (istio#58657, CVE-2022-21679, Kuma's silent plaintext): control plane and sidecars of two versions. Whatever either lacks, nothing
 * becomes wider, and nothing becomes plaintext.
 */

interface Document {
  rules: Record<string, unknown>[];
  calls: Record<string, unknown>[];
  mode: string;
}

const edited = (snapshot: FeedSnapshot, edit: (document: Document) => void): FeedSnapshot => {
  const document = JSON.parse(snapshot.document) as Document;
  edit(document);
  return { ...snapshot, document: JSON.stringify(document) };
};

/** Rules that need no scope but an `actor`. Who does not know of actors reads: anybody may. */
const withActors = (snapshot: FeedSnapshot): FeedSnapshot => ({
  ...edited(snapshot, ({ rules }) => {
    for (const rule of rules)
      Object.assign(rule, { scopes: [], account: 'none', actors: ['required-by-a-later-version'] });
  }),
  requires: [...snapshot.requires, 'actors'],
});

/** By a customer who may not read. */
const readWithoutScope = async (cell: Cell) =>
  cell.callAsRouter({ token: await cell.mint({ scope: 'messages:write' }), path: '/v1/local' });
const read = async (cell: Cell) => cell.callAsRouter({ token: await cell.mint(), path: '/v1/local' });

function reasonOf({ body }: HttpResponse): string {
  return (JSON.parse(body) as { reason: string }).reason;
}

const recordOf = (cell: Cell, { headers }: HttpResponse): Promise<DecisionRecord> =>
  cell.findDecision(String(headers['cellmesh-decision']));

/** The same rules under another version. */
async function touchManifests({ manifestsDir }: Cell, name: string): Promise<void> {
  const file = join(manifestsDir, 'services.yaml');
  await writeFile(file, (await readFile(file, 'utf8')).replace(/name: read(-\w+)?,/g, `name: read-${name},`));
}

describe('an older sidecar', () => {
  test('keeps its last good policy when a newer one needs what it lacks, says so, and goes on so after a restart', async () => {
    const lines = logLines();
    await using cell = await startCell({ logger: lines.logger });
    const { api } = cell.services;
    const before = await readWithoutScope(cell);
    assert.equal(reasonOf(before), 'scope_missing');
    const { policyVersion } = await recordOf(cell, before);

    const newer = otherControlPlane(withActors);
    try {
      await touchManifests(cell, 'newer');
      await eventually(() => {
        const refusals = lines.with('a subscriber refuses a snapshot', 'it requires actors, which this version lacks');
        assert.equal(refusals.length, 3, 'each of the three says what it lacks');
      });
      for (const phase of ['at once', 'after a restart']) {
        if (phase === 'after a restart') {
          await api.stopSidecar();
          await api.startSidecar();
          await cell.whenReady();
        }
        assert.deepEqual(api.sidecar.notReady(), [], phase);
        const refused = await readWithoutScope(cell);
        assert.equal(reasonOf(refused), 'scope_missing', phase);
        assert.equal((await recordOf(cell, refused)).policyVersion, policyVersion, phase);
        assert.equal((await read(cell)).status, 200, phase);
      }
    } finally {
      newer[Symbol.dispose]();
    }
    await touchManifests(cell, 'older');
    await eventually(async () => {
      const { policyVersion: version, rule } = await recordOf(cell, await read(cell));
      assert.notEqual(version, policyVersion);
      assert.equal(rule, 'read-older');
    });
  });

  test('that never had a policy stays unready and refuses, and nothing of it speaks without TLS', async () => {
    using _ = otherControlPlane(withActors);
    await using cell = await startCell({ withoutSidecars: ['api', 'messaging', 'delivery'] });
    const { api } = cell.services;
    await api.startSidecar();
    await eventually(() =>
      assert.deepEqual(api.sidecar.notReady(), ['policy: the control plane has not sent any yet']),
    );
    assert.equal((await callHttp({ port: api.sidecar.ports.health!, path: '/readyz' })).status, 503);
    const refused = await readWithoutScope(cell);
    assert.deepEqual([refused.status, reasonOf(refused)], [503, 'policy_missing']);
    const call = await api.call({ authority: 'messaging', path: '/v1/messages' });
    assert.deepEqual([call.status, reasonOf(call)], [503, 'policy_missing']);
    assert.equal(api.application.received.length, 0);
    const plain = connect(api.sidecar.ports.inbound!, '127.0.0.1');
    plain.on('error', () => {}).write(`GET /v1/local HTTP/1.1\r\nHost: api:${api.application.port}\r\n\r\n`);
    assert.doesNotMatch(await text(plain).catch(() => ''), /HTTP/);
    assert.equal(api.application.received.length, 0);
  });

  test('does not take up what a newer one left on disk and it would misread', async () => {
    const lines = logLines();
    await using cell = await startCell({ logger: lines.logger });
    const { api } = cell.services;
    await api.stopSidecar();
    await cell.stopControlPlane();
    const file = join(api.stateDir, 'feeds', 'policy.json');
    const lastGood = JSON.parse(await readFile(file, 'utf8')) as { snapshot: FeedSnapshot };
    await writeFile(file, JSON.stringify({ ...lastGood, snapshot: withActors(lastGood.snapshot) }));
    await api.startSidecar();
    assert.deepEqual(api.sidecar.notReady(), ['policy: the control plane has not sent any yet']);
    assert.equal(lines.with('the last good snapshot cannot be used', 'it requires actors').length, 1);
    assert.equal(reasonOf(await readWithoutScope(cell)), 'policy_missing');
    await cell.startControlPlane();
    await cell.whenReady();
    assert.equal(reasonOf(await readWithoutScope(cell)), 'scope_missing');
  });

  test('refuses a word that it does not know where only some may stand, though nobody said that it needs it (istio#58657)', async () => {
    const lines = logLines();
    await using cell = await startCell({ logger: lines.logger });
    using _ = otherControlPlane((snapshot) =>
      edited(snapshot, (document) => Object.assign(document, { mode: 'observe' })),
    );
    await touchManifests(cell, 'newer');
    await eventually(() =>
      assert.equal(lines.with('a subscriber refuses a snapshot', 'audit or enforce is expected').length, 3),
    );
    assert.equal(reasonOf(await readWithoutScope(cell)), 'scope_missing');
    assert.equal((await read(cell)).status, 200);
  });
});

describe('a newer sidecar', () => {
  test('reads what an older control plane writes, and overlooks what needs no understanding', async () => {
    using _ = otherControlPlane((snapshot) =>
      edited(snapshot, (document) => {
        Object.assign(document, { colour: 'blue' });
        for (const call of document.calls) delete call['routes'];
      }),
    );
    await using cell = await startCell();
    assert.equal((await cell.callAsRouter({ token: await cell.mint(), method: 'POST', body: 'hello' })).status, 200);
    assert.equal(reasonOf(await readWithoutScope(cell)), 'scope_missing');
  });
});

/** As sidecars of schema 1 wrote it. */
const ofSchema1 =
  '{"schema":1,"id":"api-test-1.a","time":"2026-11-28T10:00:00.000Z","direction":"inbound","instance":"api-test","outcome":"deny","reason":"scope_missing","status":403,' +
  '"peer":"spiffe://cellmesh.localhost/router/local/router-1","service":"messaging/api","method":"GET","path":"/v1/local","account":"AC0123456789abcdef0123456789abcdef",' +
  '"claims":{"kind":"cell","subject":"AC0123456789abcdef0123456789abcdef","clientId":"spiffe://cellmesh.localhost/router/local/router-1","tokenId":"t","scope":"messages:write","cellId":"cell-1","generation":1},' +
  '"failed":{"rule":"read","condition":"scopes","expected":"messages:read","actual":"token: messages:write"},"policyVersion":"abc","durationMs":0.5}';

describe('records', () => {
  test('of schema 1 are read and explained', () => {
    const record = parseDecisionRecord(ofSchema1);
    assert.equal(record.path, '/v1/local');
    assert.match(explain(record), /DENIED with 403 scope_missing/);
    assert.match(explain(record), /messages:write/);
  });

  test('of a schema that is not known yet are no records', () => {
    assert.throws(
      () => parseDecisionRecord(ofSchema1.replace('"schema":1', '"schema":99')),
      (error) => isCellmeshError(error, 'decision_invalid'),
    );
  });
});
