import assert from 'node:assert/strict';
import { appendFile, chmod, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { DecisionRing, pendingBytesMax, readDecisionRing } from '#feeds/decision-ring.ts';
import { systemClock } from '#runtime/clock.ts';
import { silentLogger } from '#runtime/logger.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

function numbers(records: readonly unknown[]): number[] {
  return records.map((record) => (record as { n: number }).n);
}

describe('the decision ring', () => {
  test('gives back what was appended, in order, across restarts', async () => {
    await using directory = await temporaryDirectory();
    const options = { directory: join(directory.path, 'ring'), clock: systemClock, logger: silentLogger };
    for (const start of [0, 10]) {
      await using ring = await DecisionRing.open(options);
      for (let n = start; n < start + 10; n++) ring.append(JSON.stringify({ n }));
      await ring.flush();
    }
    assert.deepEqual(
      numbers(await readDecisionRing(options.directory)),
      Array.from({ length: 20 }, (_, n) => n),
    );
  });

  test('its size is bounded and the oldest go first', async () => {
    await using directory = await temporaryDirectory();
    await using ring = await DecisionRing.open({
      directory: directory.path,
      clock: systemClock,
      logger: silentLogger,
      segmentBytes: 100,
      segments: 3,
    });
    for (let n = 0; n < 1000; n++) ring.append(JSON.stringify({ n }));
    await ring.flush();
    const names = await readdir(directory.path);
    assert.equal(names.length, 3);
    for (const name of names) assert.ok((await stat(join(directory.path, name))).size <= 110);
    const kept = numbers(await readDecisionRing(directory.path));
    assert.equal(kept.at(-1), 999);
    assert.ok(kept.length > 15 && kept.length < 40);
  });

  test('a line torn by a crash is skipped and harms no later line', async () => {
    await using directory = await temporaryDirectory();
    await writeFile(join(directory.path, 'decisions-00000007.jsonl'), '{"n":1}\n{"n":2}\n{"n":3,"reas');
    await using ring = await DecisionRing.open({ directory: directory.path, clock: systemClock, logger: silentLogger });
    ring.append('{"n":4}');
    await ring.flush();
    assert.deepEqual(numbers(await readDecisionRing(directory.path)), [1, 2, 4]);
  });

  test('foreign files and lines are left alone', async () => {
    await using directory = await temporaryDirectory();
    await writeFile(join(directory.path, 'notes.txt'), 'mine');
    await using ring = await DecisionRing.open({
      directory: directory.path,
      clock: systemClock,
      logger: silentLogger,
      segments: 1,
    });
    ring.append('{"n":1}');
    await ring.flush();
    await appendFile(join(directory.path, 'decisions-00000001.jsonl'), '\u0000\u0001 not json\n');
    assert.deepEqual(numbers(await readDecisionRing(directory.path)), [1]);
    assert.ok((await readdir(directory.path)).includes('notes.txt'));
  });

  test('what cannot be written is counted, and writing goes on when the disk comes back', async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'ring');
    await using ring = await DecisionRing.open({ directory: path, clock: systemClock, logger: silentLogger });
    await rm(path, { recursive: true });
    await writeFile(path, 'in the way');
    ring.append('{"n":1}');
    await ring.flush();
    assert.equal(ring.dropped, 1);
    await rm(path);
    await mkdir(path);
    await chmod(path, 0o700);
    ring.append('{"n":2}');
    await ring.flush();
    assert.deepEqual(numbers(await readDecisionRing(path)), [2]);
  });

  test('a flush waits for what was appended before it, not for what comes meanwhile', async () => {
    await using directory = await temporaryDirectory();
    await using ring = await DecisionRing.open({ directory: directory.path, clock: systemClock, logger: silentLogger });
    ring.append('{"n":0}');
    let appended = 0;
    let isOver = false;
    const appending = (async () => {
      // A disk is never done with what comes at each turn.
      while (!isOver && appended < 100_000) {
        ring.append(`{"n":${++appended}}`);
        await new Promise(setImmediate);
      }
    })();
    await ring.flush();
    isOver = true;
    await appending;
    assert.ok(appended < 100_000);
    assert.equal(numbers(await readDecisionRing(directory.path))[0], 0);
  });

  test('a few lines wait for more, and a batch does not', async () => {
    await using directory = await temporaryDirectory();
    const clock = new FakeClock();
    await using ring = await DecisionRing.open({ directory: directory.path, clock, logger: silentLogger });
    const written = async () => numbers(await readDecisionRing(directory.path)).length;
    for (let n = 0; n < 10; n++) ring.append(JSON.stringify({ n }));
    await clock.advance(99);
    await setTimeout(20);
    assert.equal(await written(), 0);
    await clock.advance(1);
    await eventually(async () => assert.equal(await written(), 10));
    for (let n = 0; n < 200; n++) ring.append(JSON.stringify({ n, text: 'x'.repeat(1_000) }));
    await eventually(async () => assert.ok((await written()) > 100));
  });

  test('what waits for the disk is bounded', async () => {
    await using directory = await temporaryDirectory();
    await using ring = await DecisionRing.open({ directory: directory.path, clock: systemClock, logger: silentLogger });
    const line = JSON.stringify({ text: 'x'.repeat(1023 - '{"text":""}'.length) });
    assert.equal(line.length, 1023);
    let taken = 0;
    for (; ring.dropped === 0; taken += 1024) ring.append(line);
    // What is being written meanwhile is not waiting.
    assert.ok(taken > pendingBytesMax && taken < 1.1 * pendingBytesMax, `${taken} bytes`);
  });
});
