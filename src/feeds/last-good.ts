import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type FeedSnapshot, type FeedType, isFeedType } from './snapshot.ts';

/** A snapshot on disk, with the last time at which its publisher was known to stand by it. */
interface LastGood {
  readonly snapshot: FeedSnapshot;
  readonly confirmedAt: number;
}

const format = 1;

/** Keeps the last good snapshot of each type in a directory, a file each, replaced in one step. */
export class LastGoodStore {
  readonly #directory: string;
  #writing: Promise<void> = Promise.resolve();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Undefined when there is none. @throws CellmeshError `feed_invalid` when what is there cannot be read */
  async read(type: FeedType): Promise<LastGood | undefined> {
    let text: string;
    try {
      text = await readFile(this.#path(type), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new CellmeshError('file_unreadable', `${this.#path(type)}: ${messageOf(error)}`, { cause: error });
    }
    return parse(text, type, this.#path(type));
  }

  /** Writes are done one after the other; the last one that was asked for is what lies there in the end. */
  write(lastGood: LastGood): Promise<void> {
    this.#writing = this.#writing.catch(() => {}).then(() => this.#writeNow(lastGood));
    return this.#writing;
  }

  /** When all that was asked for lies there, or could not be written. */
  async settled(): Promise<void> {
    await this.#writing.catch(() => {});
  }

  async #writeNow(lastGood: LastGood): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const path = this.#path(lastGood.snapshot.type);
    const temporary = `${path}.new`;
    await rm(temporary, { force: true });
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(JSON.stringify({ format, ...lastGood }));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  }

  #path(type: FeedType): string {
    return join(this.#directory, `${type}.json`);
  }
}

function parse(text: string, type: FeedType, path: string): LastGood {
  try {
    const value = JSON.parse(text) as {
      format: unknown;
      confirmedAt: unknown;
      snapshot: Record<keyof FeedSnapshot, unknown>;
    };
    const { snapshot, confirmedAt } = value;
    const isWhole =
      value.format === format &&
      typeof confirmedAt === 'number' &&
      snapshot.type === type &&
      isFeedType(type) &&
      Number.isSafeInteger(snapshot.revision) &&
      typeof snapshot.document === 'string' &&
      typeof snapshot.madeAt === 'number' &&
      Array.isArray(snapshot.requires);
    if (isWhole) return { snapshot: snapshot as unknown as FeedSnapshot, confirmedAt };
  } catch {
    // Falls through: what cannot be read and what is incomplete are the same to whoever starts.
  }
  throw new CellmeshError('feed_invalid', `${path} is no snapshot of ${type}; remove it to start without`);
}
