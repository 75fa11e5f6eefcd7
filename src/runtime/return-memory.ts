import type { Clock } from './clock.ts';
import { libcFunction } from './libc.ts';

const everyMs = 60_000;
/** Most of what V8 compiles, it compiles in the first seconds of a load. */
const firstMs = 10_000;

/**
 * Gives back to the system, once a minute, what malloc keeps for itself. V8's compilers take memory in bursts and free it in pieces, from which glibc
 * returns nothing: 25 MB of a sidecar for as long as it runs. Takes half a millisecond when there is little to return. Does nothing where libc is
 * another one: musl has no such function, and returns memory by itself.
 */
export async function returnMemory(clock: Clock): Promise<void> {
  if (process.platform !== 'linux') return;
  const trim = await libcFunction('int malloc_trim(size_t)').catch(() => undefined);
  if (trim === undefined) return;
  const run = () => {
    trim(0);
    clock.schedule(everyMs, run);
  };
  clock.schedule(firstMs, run);
}
