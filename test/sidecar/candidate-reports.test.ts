import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#runtime/logger.ts';
import { CandidateReports } from '#sidecar/candidate-reports.ts';
import { type CandidateCounts, CandidateTally } from '#sidecar/candidate-tally.ts';
import { FakeClock } from '../support/fake-clock.ts';

const verdict = { version: 'v', isInForce: false, before: 'permit', outcome: 'deny' } as const;

test('what a candidate says is told as sums, when they change and when telling failed; and no more once that has ended', async () => {
  const clock = new FakeClock();
  const tally = new CandidateTally();
  const told: CandidateCounts[] = [];
  let answer: () => Promise<void> = async () => {};
  const report = async (counts: CandidateCounts) => {
    told.push(counts);
    await answer();
  };
  const reports = new CandidateReports({ tally, report, clock, logger: silentLogger });
  const denied = () => told.map(({ newlyDenied }) => newlyDenied);
  tally.count(verdict);
  await clock.advance(1_000);
  await clock.advance(5_000);
  assert.deepEqual(denied(), [1]);
  answer = () => Promise.reject(new Error('away'));
  tally.count(verdict);
  await clock.advance(2_000);
  assert.deepEqual(denied(), [1, 2, 2], 'it is tried again');
  let release = () => {};
  answer = () => new Promise((resolve) => (release = resolve));
  tally.count(verdict);
  await clock.advance(1_000);
  const ended = reports[Symbol.asyncDispose]();
  release();
  await ended;
  tally.count(verdict);
  await clock.advance(10_000);
  assert.deepEqual(denied(), [1, 2, 2, 3]);
});
