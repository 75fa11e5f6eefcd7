import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReadingProgress } from '#cli/policy/reading-progress.ts';
import { FakeClock } from '../support/fake-clock.ts';

function terminal(isTTY: boolean) {
  const written: string[] = [];
  const stream = { isTTY, write: (text: string) => written.push(text) > 0 } as unknown as NodeJS.WriteStream;
  return { stream, written };
}

async function readMany(progress: ReadingProgress, clock: FakeClock): Promise<void> {
  for (let n = 0; n < 1_024; n++) {
    progress.read(100);
    progress.decision();
    if (n % 256 === 254) await clock.advance(200);
  }
}

test('on a terminal one line says how far it is and goes at the end', async () => {
  const clock = new FakeClock();
  const { stream, written } = terminal(true);
  {
    using progress = new ReadingProgress(stream, clock, 204_800);
    await readMany(progress, clock);
  }
  assert.deepEqual(written, [
    '\r\x1b[2K512 decisions read, 1,280 a second, 25 %',
    '\r\x1b[2K1,024 decisions read, 1,280 a second, 50 %',
    '\r\x1b[2K',
  ]);
});

test('where the whole is not known no share is said, and elsewhere than on a terminal nothing', async () => {
  const clock = new FakeClock();
  const [shown, hidden] = [terminal(true), terminal(false)];
  for (const { stream } of [shown, hidden]) {
    using progress = new ReadingProgress(stream, clock);
    await readMany(progress, clock);
  }
  assert.equal(shown.written[0], '\r\x1b[2K512 decisions read, 1,280 a second');
  assert.deepEqual(hidden.written, []);
});
