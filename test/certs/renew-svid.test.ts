import assert from 'node:assert/strict';
import test from 'node:test';
import { verifyCsr } from '#certs/csr.ts';
import {
  obtainSvid,
  type RenewSvidOptions,
  renewalIntervalMs,
  renewSvid,
  type SvidRequester,
} from '#certs/renew-svid.ts';
import { backdateMs } from '#certs/roots.ts';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { WatchSource } from '#runtime/watch.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type TestAuthority, testAuthority } from '../support/test-authority.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');
const id = workloadId(trustDomain, 'messaging', 'api');
const minuteMs = 60_000;

interface Setting {
  readonly clock: FakeClock;
  readonly cell: TestAuthority;
  readonly svid: WatchSource<Svid>;
  readonly renewals: number[];
  readonly loop: Promise<void>;
  readonly stop: () => Promise<void>;
}

/** A renewal loop over a real authority; `fail` decides which requests fail. */
async function running(change: {
  lifetimeMs?: number;
  fraction?: number;
  ageMs?: number;
  answer?: (
    ask: () => ReturnType<SvidRequester['requestSvid']>,
    request: number,
  ) => ReturnType<SvidRequester['requestSvid']>;
  options?: Partial<RenewSvidOptions>;
  id?: SpiffeId;
}): Promise<Setting> {
  const clock = new FakeClock();
  const cell = await testAuthority(clock);
  const svid = new WatchSource(await cell.issue(id, change.lifetimeMs));
  await clock.advance(change.ageMs ?? 0);
  const renewals: number[] = [];
  svid.subscribe(() => renewals.push(clock.now()));
  let requests = 0;
  const requester: SvidRequester = {
    requestSvid(csr) {
      const { publicKey } = verifyCsr(csr);
      const lifetime = change.lifetimeMs === undefined ? {} : { lifetimeMs: change.lifetimeMs };
      const ask = () => cell.authority.issue({ id: change.id ?? id, publicKey, ...lifetime });
      return change.answer === undefined ? ask() : change.answer(ask, requests++);
    },
  };
  const abort = new AbortController();
  const loop = renewSvid({
    requester,
    svid,
    clock,
    random: { bytes: systemRandom.bytes, fraction: () => change.fraction ?? 0.5 },
    bundles: () => cell.bundles,
    logger: silentLogger,
    signal: abort.signal,
    ...change.options,
  });
  const stop = async () => {
    abort.abort();
    await loop;
  };
  return { clock, cell, svid, renewals, loop, stop };
}

/** Advances in steps, so that what a timer starts (a signature) ends before the clock goes on. */
async function pass(clock: FakeClock, ms: number, steps = 20): Promise<void> {
  for (let step = 0; step < steps; step++) await clock.advance(ms / steps);
}

test('an SVID of 12 hours is renewed every two, with a new key', async () => {
  const { clock, svid, renewals, stop } = await running({});
  const first = svid.current;
  const start = clock.now();
  await pass(clock, 12 * 60 * minuteMs, 200);
  assert.ok(renewals.length >= 5 && renewals.length <= 6, String(renewals.length));
  assert.ok(Math.abs(renewals[0]! - start - renewalIntervalMs) < 5 * minuteMs);
  assert.equal(svid.current.id, first.id);
  assert.equal(svid.current.privateKey.equals(first.privateKey), false);
  await stop();
});

test('the moment is spread over a tenth to both sides', async () => {
  for (const [fraction, due] of [
    [0, 0.9],
    [0.999999, 1.1],
  ] as const) {
    const { clock, renewals, stop } = await running({ fraction });
    await pass(clock, (due - 0.02) * renewalIntervalMs);
    assert.equal(renewals.length, 0);
    await pass(clock, 0.04 * renewalIntervalMs);
    assert.equal(renewals.length, 1);
    await stop();
  }
});

test('a short life is renewed when a third of what is left is over: a minute has three renewals and more', async () => {
  const { clock, renewals, stop } = await running({ lifetimeMs: minuteMs });
  await pass(clock, minuteMs, 240);
  assert.ok(renewals.length >= 2 && renewals.length <= 3, String(renewals.length));
  await stop();
  const quick = await running({ lifetimeMs: minuteMs, options: { intervalMs: 12_000 } });
  await pass(quick.clock, minuteMs, 240);
  assert.ok(quick.renewals.length >= 4, String(quick.renewals.length));
  await quick.stop();
});

test('an SVID that comes from disk and is overdue is renewed soon', async () => {
  const { clock, renewals, stop } = await running({ ageMs: 5 * 60 * minuteMs });
  await pass(clock, 15 * minuteMs);
  assert.equal(renewals.length, 1);
  await stop();
});

test('while requests fail the old SVID stays, and the first success ends the retries', async () => {
  const { clock, svid, renewals, stop } = await running({
    answer: (ask, request) => (request < 5 ? Promise.reject(new Error('the control plane is away')) : ask()),
  });
  const first = svid.current;
  await pass(clock, renewalIntervalMs - backdateMs + 2000);
  assert.equal(svid.current === first, true);
  await pass(clock, 5 * minuteMs, 100);
  assert.equal(renewals.length, 1);
  await stop();
});

test('retries are bounded in number: pauses grow to a minute', async () => {
  let requests = 0;
  const { clock, stop } = await running({
    answer: async () => {
      requests++;
      throw new Error('away');
    },
  });
  await pass(clock, renewalIntervalMs + 60 * minuteMs, 600);
  assert.ok(requests > 60 && requests < 200, String(requests));
  await stop();
});

test('an answer that breaks a rule, is of another workload or for another key is never put into use', async () => {
  const other = await running({ id: workloadId(trustDomain, 'messaging', 'other') });
  await pass(other.clock, 2 * renewalIntervalMs);
  assert.equal(other.renewals.length, 0);
  await other.stop();
  const foreign = await testAuthority(new FakeClock());
  const foreignSvid = await foreign.issue(id);
  const answer = async () => ({ chainDer: foreignSvid.chain.map(({ der }) => der) });
  const rejected = await running({ answer });
  await pass(rejected.clock, 2 * renewalIntervalMs);
  assert.equal(rejected.renewals.length, 0);
  await rejected.stop();
  const { cell, clock, stop } = await running({});
  const otherKey = await cell.issue(id);
  const requester = { requestSvid: async () => ({ chainDer: otherKey.chain.map(({ der }) => der) }) };
  const asked = obtainSvid({ requester, bundles: () => cell.bundles, clock, signal: new AbortController().signal });
  await assert.rejects(asked, { code: 'svid_unreadable' });
  await stop();
});

test('a new SVID is stored before it is used, and used even when it cannot be stored', async () => {
  const events: string[] = [];
  const store = async (svid: Svid) => {
    events.push(`stored ${svid.chain[0]!.serial}`);
    throw new Error('the disk is full');
  };
  const { clock, svid, stop } = await running({ options: { store } });
  svid.subscribe((value) => events.push(`used ${value.chain[0]!.serial}`));
  await pass(clock, renewalIntervalMs + minuteMs);
  const { serial } = svid.current.chain[0]!;
  assert.deepEqual(events, [`stored ${serial}`, `used ${serial}`]);
  await stop();
});

test('an aborted loop ends at once and leaves no timer', async () => {
  const { clock, cell, stop } = await running({});
  await stop();
  cell.authority[Symbol.dispose]();
  assert.equal(clock.pendingTimers, 0);
});
