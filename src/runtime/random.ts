import { randomFillSync, randomInt } from 'node:crypto';

/** Randomness as an argument: jitter, identifiers and serial numbers come from here, so a test can fix them. */
export interface Random {
  bytes(count: number): Buffer;
  /** A uniform number in [0, 1). */
  fraction(): number;
}

const fractionSteps = 2 ** 32;
/** Every request takes a few bytes, and asking OpenSSL costs 2 us whatever the count: it is asked once for hundreds of them. */
const pool = Buffer.alloc(4096);
let used = pool.length;

export const systemRandom: Random = {
  bytes(count) {
    if (count > pool.length / 16) return randomFillSync(Buffer.alloc(count));
    if (used + count > pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    const taken = Buffer.from(pool.subarray(used, used + count));
    // What was given away is nobody else's to find.
    pool.fill(0, used, used + count);
    used += count;
    return taken;
  },
  fraction: () => randomInt(fractionSteps) / fractionSteps,
};
