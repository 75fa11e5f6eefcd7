import { createHmac } from 'node:crypto';
import { equalInConstantTime, type Secret } from '#runtime/secret.ts';
import { BoundedMap } from '#traffic/bounded-map.ts';

/** A key seen once is checked in microseconds afterwards; 200,000 of them are 40 MB. */
const matchesMax = 200_000;

/** What is remembered of a key that was verified: nothing that would let anybody in elsewhere. */
export interface RememberedMatch {
  readonly locator: string;
  readonly version: number;
  /** HMAC-SHA256 of the secret under a key that never leaves this router. */
  readonly mac: Buffer;
}

/**
 * "This secret belongs to this version of this key": a fact that never changes, and so is kept without a time. Whether the key may be used
 * now is another question, asked elsewhere every time (IDENTITY B.4, B.5).
 */
export class MatchCache {
  readonly #key: Secret<Buffer>;
  readonly #matches: BoundedMap<string, RememberedMatch>;
  #changes = 0;

  constructor(key: Secret<Buffer>, remembered: readonly RememberedMatch[] = [], max = matchesMax) {
    this.#key = key;
    this.#matches = new BoundedMap(max);
    for (const match of remembered) this.#matches.set(match.locator, match);
  }

  get size(): number {
    return this.#matches.size;
  }

  /** Rises when something new is remembered. */
  get changes(): number {
    return this.#changes;
  }

  has(locator: string, version: number, secret: Secret<string>): boolean {
    const match = this.#matches.get(locator);
    return match !== undefined && match.version === version && equalInConstantTime(match.mac, this.macOf(secret));
  }

  add(locator: string, version: number, secret: Secret<string>): void {
    this.#matches.set(locator, { locator, version, mac: this.macOf(secret) });
    this.#changes++;
  }

  macOf(secret: Secret<string>): Buffer {
    return createHmac('sha256', this.#key.reveal()).update(secret.reveal()).digest();
  }

  entries(): readonly RememberedMatch[] {
    return [...this.#matches.entries()].map(([, match]) => match);
  }
}
