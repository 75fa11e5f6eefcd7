import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { readLines } from './decision-lines.ts';
import { LineBuffer, lineEnd } from './line-buffer.ts';

/** Two hundred decisions a second of 500 bytes fill a segment in about 40 seconds, and all of them in five minutes. */
const segmentBytesDefault = 4 * 1024 * 1024;
const segmentsDefault = 8;
/** What waits for the disk. Beyond it lines are dropped and counted: a slow disk must not become a slow or a dead sidecar. */
export const pendingBytesMax = 4 * 1024 * 1024;

/**
 * What a killed process may lose. A write takes a hundred microseconds of a process that has been asleep, most of them to wake a thread for it: with a
 * write every 10 ms that was a sixth of a sidecar's time at 1,000 requests a second.
 */
const batchMs = 100;
/** So much waits no longer: two buffers would grow to what a busy sidecar brings in that time. */
const batchCharacters = 128 * 1024;

const segmentPattern = /^decisions-(\d{8})\.jsonl$/;

/** Between two lines of a ring. */
export interface RingPosition {
  /** The number of a file. */
  readonly segment: number;
  /** Bytes from its start. */
  readonly offset: number;
}

interface DecisionRingOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly segmentBytes?: number;
  readonly segments?: number;
}

/**
 * The last decisions on disk, one JSON text a line, in files of bounded size of which the oldest goes first. Lines are written in
 * batches: a killed process loses what it decided in the last `batchMs`. Every start opens a new file: a line that a crash tore is the last of its file and never runs into another.
 */
export class DecisionRing implements AsyncDisposable {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #segmentBytes: number;
  readonly #segments: number;
  #pending = new LineBuffer();
  /** For what comes while the other one is written. */
  #spare = new LineBuffer();
  #dropped = 0;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #sequence: number;
  #scheduled: Scheduled | undefined;
  #writing: Promise<void> | undefined;
  #failing = false;

  private constructor(options: DecisionRingOptions, lastSequence: number) {
    this.#directory = options.directory;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#segmentBytes = options.segmentBytes ?? segmentBytesDefault;
    this.#segments = options.segments ?? segmentsDefault;
    this.#sequence = lastSequence;
  }

  static async open(options: DecisionRingOptions): Promise<DecisionRing> {
    await mkdir(options.directory, { recursive: true, mode: 0o700 });
    const last = (await segmentsOf(options.directory)).at(-1);
    return new DecisionRing(options, last?.sequence ?? 0);
  }

  /** Lines that never reached the disk. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Where the next line that is written goes: all that stands before it was appended before now. */
  get position(): RingPosition {
    return this.#file === undefined
      ? { segment: this.#sequence + 1, offset: 0 }
      : { segment: this.#sequence, offset: this.#fileBytes };
  }

  get directory(): string {
    return this.#directory;
  }

  /** Takes one line without its newline. Never waits, never throws. */
  append(line: string): void {
    if (this.#pending.characters + line.length + 1 > pendingBytesMax) {
      this.#dropped++;
      return;
    }
    this.#pending.append(line);
    if (this.#pending.characters >= batchCharacters) this.#writing ??= this.#write();
    else this.#schedule();
  }

  /** Resolves when everything appended so far is written or counted as dropped. */
  async flush(): Promise<void> {
    // What is not in the write under way is in the next one. More may come meanwhile, for ever, and is not waited for.
    await this.#writing;
    if (this.#writing === undefined && this.#pending.lines > 0) this.#writing = this.#write();
    await this.#writing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    while (this.#writing !== undefined || this.#pending.lines > 0) await this.flush();
    this.#scheduled?.cancel();
    await this.#file?.close();
    this.#file = undefined;
  }

  #schedule(): void {
    if (this.#scheduled !== undefined || this.#writing !== undefined) return;
    this.#scheduled = this.#clock.schedule(batchMs, () => {
      this.#scheduled = undefined;
      this.#writing ??= this.#write();
    });
  }

  async #write(): Promise<void> {
    const pending = this.#pending;
    this.#pending = this.#spare;
    this.#spare = pending;
    try {
      await this.#writeLines(pending.bytes);
      this.#failing = false;
    } catch (error) {
      this.#dropped += pending.lines;
      if (!this.#failing) this.#logger.error('decisions cannot be written to disk', { reason: messageOf(error) });
      this.#failing = true;
      await this.#file?.close().catch(() => {});
      this.#file = undefined;
    }
    pending.clear();
    this.#writing = undefined;
    if (this.#pending.lines > 0) this.#schedule();
  }

  async #writeLines(lines: Buffer): Promise<void> {
    for (let start = 0; start < lines.length; ) {
      if (this.#file === undefined || this.#fileBytes >= this.#segmentBytes) await this.#nextSegment();
      const end = lineEnd(lines, start + this.#segmentBytes - this.#fileBytes);
      await this.#file!.appendFile(lines.subarray(start, end));
      this.#fileBytes += end - start;
      start = end;
    }
  }

  async #nextSegment(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    this.#fileBytes = 0;
    const sequence = this.#sequence + 1;
    try {
      this.#file = await open(join(this.#directory, segmentName(sequence)), 'ax', 0o600);
    } finally {
      // Not before: where the next line goes must be right at any time.
      this.#sequence = sequence;
    }
    const segments = await segmentsOf(this.#directory);
    for (const { name } of segments.slice(0, -this.#segments)) await rm(join(this.#directory, name), { force: true });
  }
}

/** All lines from one place to another, oldest first, a piece of a file at a time; by default, everything. */
export async function* readRingLines(
  directory: string,
  from: RingPosition = { segment: 0, offset: 0 },
  to: RingPosition = { segment: Number.POSITIVE_INFINITY, offset: 0 },
): AsyncGenerator<readonly string[], void, undefined> {
  for (const { name, sequence } of await segmentsOf(directory)) {
    if (sequence < from.segment || sequence > to.segment) continue;
    yield* readLines(join(directory, name), {
      from: sequence === from.segment ? from.offset : 0,
      to: sequence === to.segment ? to.offset : Number.POSITIVE_INFINITY,
    });
  }
}

/**
 * All lines on disk that are whole JSON texts, oldest first. A torn or foreign line is skipped: the reader is for people who
 * look for what happened, often after something went wrong.
 */
export async function readDecisionRing(directory: string): Promise<readonly unknown[]> {
  const records: unknown[] = [];
  for await (const lines of readRingLines(directory)) {
    for (const line of lines) {
      try {
        if (line !== '') records.push(JSON.parse(line));
      } catch {
        // The tail of a process that was killed while it wrote.
      }
    }
  }
  return records;
}

interface Segment {
  readonly name: string;
  readonly sequence: number;
}

async function segmentsOf(directory: string): Promise<Segment[]> {
  const names = await readdir(directory).catch(() => []);
  return names
    .flatMap((name) => {
      const sequence = segmentPattern.exec(name)?.[1];
      return sequence === undefined ? [] : [{ name, sequence: Number(sequence) }];
    })
    .sort((a, b) => a.sequence - b.sequence);
}

function segmentName(sequence: number): string {
  return `decisions-${String(sequence).padStart(8, '0')}.jsonl`;
}
