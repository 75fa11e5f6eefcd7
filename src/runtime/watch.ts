/** A value that changes, and those who want to know. Readers see whole snapshots, never a half-made change. */
export interface Watch<T> {
  readonly current: T;
  /** Calls `listener` on every later change, until the returned function is called. */
  subscribe(listener: (value: T) => void): () => void;
}

export class WatchSource<T> implements Watch<T> {
  #current: T;
  readonly #listeners = new Set<(value: T) => void>();

  constructor(initial: T) {
    this.#current = initial;
  }

  get current(): T {
    return this.#current;
  }

  set(value: T): void {
    this.#current = value;
    for (const listener of [...this.#listeners]) listener(value);
  }

  subscribe(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
