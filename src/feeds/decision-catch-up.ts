import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { type DecisionRing, type RingPosition, readRingLines } from './decision-ring.ts';

interface DecisionCatchUpOptions {
  readonly ring: DecisionRing;
  /** Which lines must not be lost. */
  readonly isWanted: (line: string) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Reading {
  readonly pieces: AsyncGenerator<readonly string[], void, undefined>;
  readonly to: RingPosition;
}

const markFile = 'reported.json';
/** A killed process reports the failures of so long again, which are stored once. */
const markEveryMs = 10_000;

/**
 * Failures that lie in the ring and were not stored elsewhere: those of a process before this one, and those that memory had no room for. All
 * before the mark is known to be stored; the mark lies beside the ring, and is written seldom.
 */
export class DecisionCatchUp {
  readonly #options: DecisionCatchUpOptions;
  #mark: RingPosition | undefined;
  #written: RingPosition | undefined;
  #writtenAt = Number.NEGATIVE_INFINITY;
  #writing: Promise<void> = Promise.resolve();
  /** What a process before this one did not report is found by looking. */
  #isBehind = true;
  #reading: Reading | undefined;
  #read: string[] = [];
  #recovered = 0;

  constructor(options: DecisionCatchUpOptions) {
    this.#options = options;
  }

  /** Whether `next` may have something. */
  get isBehind(): boolean {
    return this.#isBehind || this.#reading !== undefined;
  }

  /** Lines that were read again. */
  get recovered(): number {
    return this.#recovered;
  }

  /** Something that is in the ring will not be reported in another way. */
  lost(): void {
    this.#isBehind = true;
  }

  /** Where a batch that takes everything that waits may advance the mark to; undefined while there is something to read again. */
  get position(): RingPosition | undefined {
    return this.isBehind ? undefined : this.#options.ring.position;
  }

  /** All before `position` is stored. */
  advance(position: RingPosition): void {
    if (!this.isBehind) this.#setMark(position);
  }

  /** Up to so many lines to report again, none when that is over. Whoever asks for more says that those before are stored. */
  async next(linesMax: number): Promise<readonly string[]> {
    try {
      return await this.#next(linesMax);
    } catch (error) {
      this.#options.logger.error('denials on disk cannot be read again', { reason: messageOf(error) });
      this.#reading = undefined;
      this.#read = [];
      return [];
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reading?.pieces.return();
    await this.#writing;
    await this.#write();
  }

  async #next(linesMax: number): Promise<readonly string[]> {
    const { isWanted } = this.#options;
    this.#reading ??= await this.#begin();
    while (this.#read.length < linesMax) {
      const { value: lines, done } = await this.#reading.pieces.next();
      if (done === true) break;
      for (const line of lines) if (isWanted(line)) this.#read.push(line);
    }
    const lines = this.#read.splice(0, linesMax);
    this.#recovered += lines.length;
    if (lines.length > 0) return lines;
    const { to } = this.#reading;
    this.#reading = undefined;
    this.#setMark(to);
    return lines;
  }

  /** From the mark to here. What is lost from now on lies behind it, and is read when this is over. */
  async #begin(): Promise<Reading> {
    const { ring } = this.#options;
    this.#isBehind = false;
    await ring.flush();
    const to = ring.position;
    this.#mark ??= await this.#readMark(to);
    return { pieces: readRingLines(ring.directory, this.#mark, to), to };
  }

  #setMark(position: RingPosition): void {
    this.#mark = position;
    const now = this.#options.clock.monotonic();
    if (now - this.#writtenAt < markEveryMs) return;
    this.#writtenAt = now;
    this.#writing = this.#writing.then(() => this.#write());
  }

  async #write(): Promise<void> {
    const mark = this.#mark;
    if (mark === undefined || mark === this.#written) return;
    this.#written = mark;
    const path = join(this.#options.ring.directory, markFile);
    try {
      await writeFile(`${path}.new`, JSON.stringify(mark), { mode: 0o600 });
      await rename(`${path}.new`, path);
    } catch (error) {
      this.#options.logger.warn('it cannot be written down which decisions are reported', { reason: messageOf(error) });
    }
  }

  /** The start of the ring where there is none, or none that can be: some records are reported again then. */
  async #readMark(end: RingPosition): Promise<RingPosition> {
    try {
      const text = await readFile(join(this.#options.ring.directory, markFile), 'utf8');
      const { segment, offset } = JSON.parse(text) as Record<keyof RingPosition, unknown>;
      if (isCount(segment) && isCount(offset) && segment <= end.segment) return { segment, offset };
    } catch {
      // None yet, or torn.
    }
    return { segment: 0, offset: 0 };
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
