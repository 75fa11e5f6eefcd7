import { type FSWatcher, watch } from 'node:fs';
import type { Clock, Scheduled } from './clock.ts';

interface WatchedDirectoryOptions {
  readonly directory: string;
  readonly clock: Clock;
  /** Something may have changed: told once after a burst of changes, and every few seconds anyway. */
  readonly onChange: () => void;
  /** Changes are found by looking only. */
  readonly onUnwatchable?: (error: unknown) => void;
  /** Whether watching alone keeps the process alive. */
  readonly isPersistent?: boolean;
}

/** Editors write a file in several steps; one reading shortly after the last is enough. */
const settleMs = 100;
/** Network file systems and some containers tell nothing: looked at anyway. */
const pollMs = 5_000;

/** A directory whose files somebody edits. */
export class WatchedDirectory implements Disposable {
  readonly #options: WatchedDirectoryOptions;
  readonly #watcher: FSWatcher | undefined;
  #settle: Scheduled | undefined;
  #poll: Scheduled | undefined;

  constructor(options: WatchedDirectoryOptions) {
    this.#options = options;
    try {
      this.#watcher = watch(options.directory, { persistent: options.isPersistent === true }, () => this.#changed());
      this.#watcher.on('error', () => {});
    } catch (error) {
      options.onUnwatchable?.(error);
    }
    this.#schedulePoll();
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    this.#settle?.cancel();
    this.#poll?.cancel();
  }

  #changed(): void {
    const { clock, onChange } = this.#options;
    this.#settle?.cancel();
    this.#settle = clock.schedule(settleMs, onChange);
  }

  #schedulePoll(): void {
    const { clock, onChange } = this.#options;
    this.#poll = clock.schedule(pollMs, () => {
      onChange();
      this.#schedulePoll();
    });
  }
}
