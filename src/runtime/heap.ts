import { setFlagsFromString } from 'node:v8';

/**
 * V8 starts a full collection when the heap and the memory outside of it have grown by half (the flags below) since the last one. The young
 * generation's collections free what reads bring, but come only with each 64 MiB of it: half of this much leaves them the room to.
 */
const ballastBytes = 160 * 1024 * 1024;

/** Held for as long as the thread lives. */
const held: Buffer[] = [];

/**
 * Fits V8's collector to a process that lives for days and moves bytes. A Node that lacks one of the flags says so on standard error and goes on.
 */
export function tuneCollector(): void {
  // Nothing is allocated as if it were old already. V8 does so where it once saw most objects of a place survive, and a request that was in flight at
  // that moment is enough: from then on each such object keeps all that it points to alive until the next full collection.
  setFlagsFromString('--no-allocation-site-pretenuring');
  // Reads of accepted sockets are memory outside the heap, which dies young. By default each 64 MiB of it bring a full collection, many times a
  // second while large bodies pass; counted with the heap, and allowed to grow as that does, it is left to the young generation's.
  setFlagsFromString('--external-memory-accounted-in-global-limit');
  setFlagsFromString('--external-memory-max-growing-factor=4');
  // The old generation may grow by half before it is collected, not to the four times that a small heap is allowed: a few collections a minute more
  // of a heap of 11 MB, for 30 MB less.
  setFlagsFromString('--heap-growing-percent=50');
  // Of 8 MiB some 50 to 100 KB survive: less work than to divide it among threads, which have to wait for each other where there are fewer processors.
  setFlagsFromString('--no-parallel-scavenge');
  leaveRoomForReads();
}

/** The part of it that each thread needs for itself. */
export function leaveRoomForReads(): void {
  // Never written to, so that it is an address range and no memory.
  if (held.length === 0) held.push(Buffer.allocUnsafeSlow(ballastBytes));
}
