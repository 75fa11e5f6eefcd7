import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { beforeEach, describe, test } from 'node:test';
import { DecisionRing, readDecisionRing } from '#feeds/decision-ring.ts';
import { decisionSinks } from '#feeds/decision-sinks.ts';
import { observeDecisions } from '#feeds/observe-decisions.ts';
import { silentLogger } from '#runtime/logger.ts';
import { Metrics } from '#runtime/metrics.ts';
import { systemRandom } from '#runtime/random.ts';
import { observeTables } from '#sidecar/observe-tables.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

let clock: FakeClock;
let reported: string[];
let logged: string[];

describe('a finished decision', () => {
  beforeEach(() => {
    clock = new FakeClock();
    reported = [];
    logged = [];
  });

  test('is kept on disk whatever else becomes of it', async () => {
    await using directory = await temporaryDirectory();
    await using sinks = await open(directory.path, { accessLog: 'off', reportedPermits: 0 });
    sinks.it.add('{"n":1}', 'permit');
    sinks.it.add('{"n":2}', 'failure');
    await sinks.ring.flush();
    assert.deepEqual(await readDecisionRing(directory.path), [{ n: 1 }, { n: 2 }]);
    assert.deepEqual(reported, ['{"n":2}']);
    assert.equal(sinks.it.thinned, 1);
    assert.deepEqual(logged, []);
  });

  test('is logged as it is set: denials alone, or all', async () => {
    for (const [accessLog, expected] of [
      ['denials', ['denied']],
      ['all', ['permitted', 'denied']],
    ] as const) {
      await using directory = await temporaryDirectory();
      await using sinks = await open(directory.path, { accessLog, reportedPermits: 0 });
      logged = [];
      sinks.it.add('permitted', 'permit');
      sinks.it.add('denied', 'failure');
      await new Promise(setImmediate);
      assert.deepEqual(logged.join('').trimEnd().split('\n'), expected);
    }
  });

  test('costs the log a line, and nobody anything else, when its reader stands still', async () => {
    await using directory = await temporaryDirectory();
    const stdout = new Writable({ write() {} });
    await using sinks = await open(directory.path, { accessLog: 'all', reportedPermits: 0 }, stdout);
    const line = JSON.stringify('x'.repeat(1021));
    for (let n = 0; n < 1024; n++) sinks.it.add(line, 'permit');
    assert.equal(sinks.it.unlogged, 0);
    sinks.it.add(line, 'permit');
    assert.equal(sinks.it.unlogged, 1);
    const metrics = new Metrics();
    const none = { size: 0, evicted: 0, ejected: 0 };
    observeTables(metrics, {
      ...{ handles: none, tokens: none, balancers: none, decisions: sinks.it, edges: { size: 0, overflow: 0 } },
      peerConnections: () => 0,
      plaintext: { lastMs: 0 },
    });
    assert.match(await metrics.render(), /^cellmesh_access_log_dropped_total 1$/m);
  });

  test('is reported when it is a denial, and when permits have not been too many in these seconds', async () => {
    await using directory = await temporaryDirectory();
    await using sinks = await open(directory.path, { accessLog: 'off', reportedPermits: 5 });
    const addPermits = (count: number) => {
      for (let n = 0; n < count; n++) sinks.it.add('permit', 'permit');
    };
    addPermits(200);
    assert.equal(reported.length, 50, 'after a pause, ten seconds of them at once');
    sinks.it.add('denial', 'failure');
    assert.equal(reported.length, 51);
    await clock.advance(1_000);
    addPermits(200);
    assert.equal(reported.length, 56);
    await clock.advance(3_600_000);
    addPermits(200);
    assert.equal(reported.length, 106);
    assert.equal(sinks.it.thinned, 600 - 105);
  });

  test('is reported when it is the first of its edge, however many permits there were', async () => {
    await using directory = await temporaryDirectory();
    await using sinks = await open(directory.path, { accessLog: 'off', reportedPermits: 1, reportedPermitsShare: 0 });
    for (let n = 0; n < 100; n++) sinks.it.add('permit', 'permit');
    sinks.it.add('sighting', 'sighting');
    sinks.it.add('denial', 'failure');
    assert.deepEqual(reported, ['sighting', 'denial']);
    assert.deepEqual([sinks.it.reported, sinks.it.thinned], [{ failure: 1, sighting: 1, permit: 0 }, 100]);
    const metrics = new Metrics();
    observeDecisions(metrics, sinks.it, { size: 7, overflow: 2 });
    const text = await metrics.render();
    assert.match(text, /^cellmesh_decisions_reported_total\{kind="sighting"\} 1$/m);
    assert.match(text, /^cellmesh_decision_edges_overflow_total 2$/m);
    assert.match(text, /^cellmesh_decision_edges 7$/m);
  });

  test('is one of a share of permits, of which none is likelier than another', async () => {
    await using directory = await temporaryDirectory();
    const setting = { accessLog: 'off', reportedPermits: 100_000, reportedPermitsShare: 0.1 } as const;
    await using sinks = await open(directory.path, setting);
    // Ten edges in turn: whoever took each tenth would see one of them alone.
    for (let n = 0; n < 20_000; n++) sinks.it.add(String(n % 10), 'permit');
    const seen = [...'0123456789'].map((edge) => reported.filter((line) => line === edge).length);
    assert.ok(
      seen.every((count) => count > 120 && count < 290),
      seen.join(),
    );
    assert.equal(sinks.it.reported.permit + sinks.it.thinned, 20_000);
  });
});

async function open(
  directory: string,
  setting: {
    readonly accessLog: 'off' | 'denials' | 'all';
    readonly reportedPermits: number;
    readonly reportedPermitsShare?: number;
  },
  stdout = new Writable({
    decodeStrings: false,
    write(chunk, _, done) {
      logged.push(String(chunk));
      done();
    },
  }),
) {
  const ring = await DecisionRing.open({ directory, clock, logger: silentLogger });
  const it = decisionSinks({
    reportedPermitsShare: 1,
    ...setting,
    clock,
    random: systemRandom,
    ring,
    stdout,
    report: (line) => reported.push(line),
  });
  return { it, ring, [Symbol.asyncDispose]: () => ring[Symbol.asyncDispose]() };
}
