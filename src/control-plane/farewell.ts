import { type Clock, sleep } from '#runtime/clock.ts';
import type { OpenedCell } from './open-cell.ts';

interface FarewellOptions {
  readonly config: Pick<OpenedCell['config'], 'settle'>;
  readonly connection: Pick<NonNullable<OpenedCell['connection']>, 'leadership'> | undefined;
}

/**
 * The end of a replica in a cluster: it is not ready at once and another one leads, and it serves on as before until everybody has heard that its
 * endpoint is withdrawn. Without that the API server's calls, and sidecars that come back, meet a closed port.
 */
export class Farewell implements AsyncDisposable {
  readonly #options: FarewellOptions;
  readonly #clock: Clock;
  #isLeaving = false;

  constructor(options: FarewellOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  notReady(): readonly string[] {
    return this.#isLeaving ? ['stopping'] : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isLeaving = true;
    const { connection, config } = this.#options;
    if (connection === undefined) return;
    const isWithdrawn = sleep(this.#clock, config.settle);
    await connection.leadership[Symbol.asyncDispose]();
    await isWithdrawn;
  }
}
