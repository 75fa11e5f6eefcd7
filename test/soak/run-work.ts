import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#runtime/errors.ts';
import type { Work } from './work.ts';

/** Between two of the same: the load is to be mixed and long, not the most that a machine can do. */
const pauseMs = 100;
/** As many texts are kept; the others are counted. */
const errorTextsMax = 50;

export interface WorkCount {
  readonly name: string;
  readonly done: number;
  readonly failed: number;
}

export class WorkRun {
  readonly errors: string[] = [];
  readonly #counts: { readonly work: Work; done: number; failed: number }[];
  readonly #loops: Promise<void>[];
  #isOver = false;

  /** Begins all of them, each as often at a time as it says. */
  constructor(works: readonly Work[]) {
    this.#counts = works.map((work) => ({ work, done: 0, failed: 0 }));
    this.#loops = this.#counts.flatMap((count) =>
      Array.from({ length: count.work.concurrency }, () => this.#repeat(count)),
    );
  }

  get counts(): readonly WorkCount[] {
    return this.#counts.map(({ work, done, failed }) => ({ name: work.name, done, failed }));
  }

  get done(): number {
    return this.#counts.reduce((sum, { done }) => sum + done, 0);
  }

  get failed(): number {
    return this.#counts.reduce((sum, { failed }) => sum + failed, 0);
  }

  /** Begins nothing more; resolves when what is under way has ended. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  async #repeat(count: { readonly work: Work; done: number; failed: number }): Promise<void> {
    while (!this.#isOver) {
      try {
        await count.work.once();
        count.done++;
      } catch (error) {
        count.failed++;
        if (this.errors.length < errorTextsMax) this.errors.push(`${count.work.name}: ${messageOf(error)}`);
      }
      await delay(pauseMs);
    }
  }
}
