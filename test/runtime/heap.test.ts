import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

/**
 * Reads of 64 KiB, 64 MiB in all, right after a full collection, none of which is let go. Prints how many full collections they bring,
 * and the memory that the tuning itself took, in bytes.
 */
const program = `
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate, setTimeout } from 'node:timers/promises';
const { tuneCollector } = await import(process.argv[1]);
const before = process.memoryUsage.rss();
tuneCollector();
const taken = process.memoryUsage.rss() - before;
globalThis.gc();
await setImmediate();
let full = 0;
new PerformanceObserver((list) => {
  for (const { detail } of list.getEntries()) if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) full++;
}).observe({ entryTypes: ['gc'] });
const held = [];
while (held.length < 1_024) {
  held.push(new ArrayBuffer(65_536));
  if (held.length % 32 === 0) await setImmediate();
}
// A full collection that has begun ends in a task of V8's own.
await setTimeout(100);
process.stdout.write(JSON.stringify({ full, taken }));
`;

test('reads bring no full collection before the young generation has had its turn, and the room for that is no memory', async () => {
  const heap = import.meta.resolve('#runtime/heap.ts');
  const args = ['--expose-gc', '--max-semi-space-size=8', '--input-type=module', '--eval', program, heap];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const { full, taken } = JSON.parse(stdout);
  assert.equal(full, 0);
  assert.ok(taken < 8 * 1024 * 1024, `${taken} bytes`);
});
