import { randomBytes, randomInt } from 'node:crypto';

/** Randomness as an argument: jitter, identifiers and serial numbers come from here, so a test can fix them. */
export interface Random {
  bytes(count: number): Buffer;
  /** A uniform number in [0, 1). */
  fraction(): number;
}

const fractionSteps = 2 ** 32;

export const systemRandom: Random = {
  bytes: (count) => randomBytes(count),
  fraction: () => randomInt(fractionSteps) / fractionSteps,
};
