import assert from 'node:assert/strict';
import test from 'node:test';
import { RefusalLog, refusalEntriesMax, refusalIntervalMs } from '#net/refusal-log.ts';
import { type LogFields, silentLogger } from '#runtime/logger.ts';
import { FakeClock } from '../support/fake-clock.ts';

function setting() {
  const clock = new FakeClock();
  const lines: LogFields[] = [];
  const log = new RefusalLog({ clock, logger: { ...silentLogger, warn: (_, fields = {}) => void lines.push(fields) } });
  return { clock, lines, log };
}

const refusal = { address: '192.0.2.7', rule: 'expired', reason: 'it ended' } as const;

test('the first refusal is logged at once, the next thousand in one line a minute later, with their count', async () => {
  const { clock, lines, log } = setting();
  for (let count = 0; count < 1001; count++) log.record(refusal);
  assert.deepEqual(lines, [{ ...refusal, count: 1 }]);
  await clock.advance(refusalIntervalMs);
  assert.deepEqual(lines.at(-1), { ...refusal, count: 1000 });
  await clock.advance(10 * refusalIntervalMs);
  assert.equal(lines.length, 2);
  assert.equal(clock.pendingTimers, 0);
  log.record(refusal);
  assert.deepEqual(lines.at(-1), { ...refusal, count: 1 });
});

test('a minute has one line for an address and rule, however it goes on', async () => {
  const { clock, lines, log } = setting();
  for (let second = 0; second < 600; second++) {
    log.record(refusal);
    await clock.advance(1000);
  }
  assert.ok(lines.length >= 10 && lines.length <= 11, String(lines.length));
  log[Symbol.dispose]();
  assert.equal(
    lines.reduce((sum, { count }) => sum + Number(count), 0),
    600,
  );
  assert.equal(clock.pendingTimers, 0);
});

test('other addresses and rules have lines of their own', () => {
  const { lines, log } = setting();
  log.record(refusal);
  log.record({ ...refusal, rule: 'signature' });
  log.record({ ...refusal, address: '192.0.2.8' });
  assert.equal(lines.length, 3);
});

test('the table is bounded: what comes beyond is counted under one address', async () => {
  const { clock, lines, log } = setting();
  for (let index = 0; index < refusalEntriesMax + 500; index++)
    log.record({ ...refusal, address: `2001:db8::${index}` });
  assert.equal(lines.length, refusalEntriesMax + 1);
  assert.equal(lines.at(-1)!['address'], '*');
  assert.equal(clock.pendingTimers, refusalEntriesMax + 1);
  await clock.advance(refusalIntervalMs);
  assert.deepEqual(lines.at(-1), { ...refusal, address: '*', count: 499 });
  await clock.advance(refusalIntervalMs);
  assert.equal(clock.pendingTimers, 0);
});
