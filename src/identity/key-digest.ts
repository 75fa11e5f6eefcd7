import { argon2, timingSafeEqual } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import type { Secret } from '#runtime/secret.ts';

/** OWASP's second choice of equal strength: 19 MiB, two passes, one lane; about 30 ms of a core. */
const argonParameters = { memory: 19_456, passes: 2, parallelism: 1 } as const;
const tagLength = 32;
const saltBytes = 16;
/** What waits here has waited long enough to be told to come back. */
const waitingMax = 64;
const waitMsMax = 250;
const phcPattern = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;

const derive = promisify(argon2);

interface Waiting {
  readonly start: () => void;
  readonly fail: (error: Error) => void;
}

/**
 * Argon2id digests of key secrets, the only form in which secrets are kept. The work is bounded: as many at a time as there are cores to
 * spare, a short queue, and a quick no beyond it, so that a flood of wrong keys cannot take memory or all processors.
 */
export class KeyDigests {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #runningMax: number;
  readonly #waiting: Waiting[] = [];
  #running = 0;

  constructor(clock: Clock, random: Random, runningMax = Math.max(1, availableParallelism() - 1)) {
    this.#clock = clock;
    this.#random = random;
    this.#runningMax = runningMax;
  }

  /** A PHC string with a salt of its own. */
  async digest(secret: Secret<string>): Promise<string> {
    const salt = this.#random.bytes(saltBytes);
    const tag = await this.#limited(() =>
      derive('argon2id', { ...argonParameters, message: secret.reveal(), nonce: salt, tagLength }),
    );
    const { memory, passes, parallelism } = argonParameters;
    return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${unpadded(salt)}$${unpadded(tag)}`;
  }

  /** @throws CellmeshError `identity_busy` (retryable) when there is too much to do */
  async verify(secret: Secret<string>, phc: string): Promise<boolean> {
    const match = phcPattern.exec(phc);
    if (match === null) throw new CellmeshError('identity_state', 'a stored digest is damaged');
    const [, memory, passes, parallelism, salt, expected] = match;
    const parameters = { memory: Number(memory), passes: Number(passes), parallelism: Number(parallelism) };
    const want = Buffer.from(expected!, 'base64');
    const tag = await this.#limited(() =>
      derive('argon2id', {
        ...parameters,
        message: secret.reveal(),
        nonce: Buffer.from(salt!, 'base64'),
        tagLength: want.length,
      }),
    );
    return timingSafeEqual(tag, want);
  }

  async #limited<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#runningMax) await this.#turn();
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
      this.#waiting.shift()?.start();
    }
  }

  #turn(): Promise<void> {
    const busy = () =>
      new CellmeshError('identity_busy', 'too many keys are being verified; try again in a second', {
        retryable: true,
      });
    if (this.#waiting.length >= waitingMax) return Promise.reject(busy());
    return new Promise((resolve, reject) => {
      const entry: Waiting = {
        start: () => {
          timer.cancel();
          resolve();
        },
        fail: reject,
      };
      const timer = this.#clock.schedule(waitMsMax, () => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1);
        reject(busy());
      });
      this.#waiting.push(entry);
    });
  }
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
