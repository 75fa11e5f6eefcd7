import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

/**
 * Takes 64 MiB of malloc in pieces of 16 KiB, and lets all of them go but the last, behind which malloc cannot shorten its heap. Prints what the process
 * has then, in megabytes, and what it has after each time that the clock comes to.
 */
const program = `
import { setTimeout } from 'node:timers/promises';
const { returnMemory } = await import(process.argv[1]);
const megabytes = () => process.memoryUsage.rss() / 2 ** 20;
const scheduled = [];
const comeTo = () => { scheduled.shift().task(); return megabytes(); };
let pieces = [];
const take = () => { pieces = Array.from({ length: 4_096 }, () => Buffer.allocUnsafeSlow(16_384).fill(1)); };
const letGo = async () => {
  pieces = [pieces.at(-1)];
  globalThis.gc();
  // They are freed by another thread, and counted when it is done.
  while (process.memoryUsage().arrayBuffers > 2 ** 20) { await setTimeout(5); globalThis.gc(); }
  return megabytes();
};
await returnMemory({ schedule: (delayMs, task) => { scheduled.push({ delayMs, task }); return { cancel() {} }; } });
take();
const first = { before: await letGo(), waitsMs: scheduled[0].delayMs, after: comeTo() };
take();
const second = { before: await letGo(), waitsMs: scheduled[0].delayMs, after: comeTo() };
process.stdout.write(JSON.stringify([first, second]));
`;

interface Turn {
  readonly before: number;
  readonly waitsMs: number;
  readonly after: number;
}

const isGlibc =
  process.platform === 'linux' && 'glibcVersionRuntime' in (process.report.getReport() as Reported).header;
type Reported = { readonly header: object };

test('what malloc holds and nobody uses goes back to the system, again and again', { skip: !isGlibc }, async () => {
  const args = [
    '--expose-gc',
    '--input-type=module',
    '--eval',
    program,
    import.meta.resolve('#runtime/return-memory.ts'),
  ];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  for (const { before, waitsMs, after } of JSON.parse(stdout) as Turn[]) {
    assert.ok(before - after > 32, `${before} MB before and ${after} after`);
    assert.ok(waitsMs > 0 && waitsMs <= 60_000);
  }
});
