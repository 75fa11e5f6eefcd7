import { compileCell } from '#policy/compile.ts';
import { readManifests } from '#policy/read-manifests.ts';
import type { Clock } from '#runtime/clock.ts';
import { isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import { WatchedDirectory } from '#runtime/watched-directory.ts';
import { readYamlFiles } from '#runtime/yaml-files.ts';
import { type LoadedCell, type PolicySource, refuseAnotherCell } from './policy-source.ts';

interface DirectoryOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The manifests of a directory, as one compiled cell. They are taken up together or not at all: with one bad file the whole old state
 * stays in force, and what is wrong is told by file, line and reason.
 */
export class DirectoryPolicySource implements PolicySource {
  readonly #options: DirectoryOptions;
  readonly #cell: WatchSource<LoadedCell>;
  readonly #watched: WatchedDirectory;
  #problems: readonly string[] = [];
  #fingerprint: string;
  #reading: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** @throws CellmeshError `document_invalid`, `file_unreadable`: there is nothing older to go on with */
  static async open(options: DirectoryOptions): Promise<DirectoryPolicySource> {
    const texts = await readYamlFiles(options.directory);
    return new DirectoryPolicySource(options, load(texts), fingerprintOf(texts));
  }

  private constructor(options: DirectoryOptions, cell: LoadedCell, fingerprint: string) {
    this.#options = options;
    this.#cell = new WatchSource(cell);
    this.#fingerprint = fingerprint;
    const { directory, clock, logger } = options;
    this.#watched = new WatchedDirectory({
      ...{ directory, clock },
      onChange: () => this.#read(),
      onUnwatchable: (error) =>
        logger.warn('changes of manifests are found by looking every few seconds', { reason: messageOf(error) }),
    });
  }

  get cell(): Watch<LoadedCell> {
    return this.#cell;
  }

  /** Why the newest files are not in force; empty when they are. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#watched[Symbol.dispose]();
    await this.#reading;
  }

  #read(): void {
    this.#reading = this.#reading.then(() => this.#readNow());
  }

  async #readNow(): Promise<void> {
    if (this.#isClosed) return;
    const { directory, logger } = this.#options;
    try {
      const texts = await readYamlFiles(directory);
      const fingerprint = fingerprintOf(texts);
      if (fingerprint === this.#fingerprint) return;
      this.#fingerprint = fingerprint;
      const cell = load(texts);
      refuseAnotherCell(this.#cell.current.document, cell.document);
      this.#problems = [];
      const before = this.#cell.current.compiled.version;
      if (cell.compiled.version === before) return;
      logger.info('policy in force', { version: cell.compiled.version, before });
      this.#cell.set(cell);
    } catch (error) {
      this.#problems = isCellmeshError(error) && error.problems.length > 0 ? error.problems : [messageOf(error)];
      logger.error('manifests are refused, the old ones stay in force', { problems: this.#problems });
    }
  }
}

function load(texts: ReadonlyMap<string, string>): LoadedCell {
  const { cell, policies } = readManifests(texts);
  return { document: cell, policies, compiled: compileCell(cell, policies), files: texts };
}

function fingerprintOf(texts: ReadonlyMap<string, string>): string {
  return JSON.stringify([...texts]);
}
