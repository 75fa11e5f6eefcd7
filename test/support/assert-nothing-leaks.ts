import assert from 'node:assert/strict';
import { eventually } from './eventually.ts';
import type { HeapCensus } from './heap-census.ts';
import type { SidecarPair } from './sidecar-pair.ts';
import type { SidecarProcess } from './sidecar-process.ts';

/** Pools and the collector may take their time. */
const withinMs = 60_000;

/**
 * Runs `round` twice to warm up, then `repeats` times, and waits until both sidecars hold as many sockets as before, and of no class
 * more objects than half as many as there were rounds: whatever stays behind once a round shows with its name.
 */
export async function assertNothingLeaks(
  { caller, callee }: SidecarPair,
  round: () => Promise<void>,
  repeats: number,
): Promise<void> {
  for (let i = 0; i < 2; i++) await round();
  const sidecars: readonly (readonly [string, SidecarProcess])[] = [
    ['caller', caller],
    ['callee', callee],
  ];
  const before = await Promise.all(
    sidecars.map(async ([name, sidecar]) => ({
      name,
      sidecar,
      sockets: sidecar.sockets(),
      heap: await sidecar.heap(),
    })),
  );
  for (let i = 0; i < repeats; i++) await round();
  for (const { name, sidecar, sockets, heap } of before) {
    await eventually(
      () => assert.ok(sidecar.sockets() <= sockets, `${name}: ${sidecar.sockets()} sockets, ${sockets} before`),
      withinMs,
    );
    await eventually(
      async () => assert.deepEqual(grown(heap, await sidecar.heap(), repeats / 2), [], name),
      withinMs,
      1_000,
    );
  }
}

function grown(before: HeapCensus, after: HeapCensus, atLeast: number): string[] {
  return [...after.objects]
    .map(([name, count]) => [name, count - (before.objects.get(name) ?? 0)] as const)
    .filter(([, more]) => more >= atLeast)
    .map(([name, more]) => `${more} more of ${name}`);
}
