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

/** Resolves with the first value that `accept` takes, the current one included. */
export function watchUntil<T, U extends T>(
  watch: Watch<T>,
  accept: (value: T) => value is U,
  signal?: AbortSignal,
): Promise<U> {
  return new Promise((resolve, reject) => {
    const current = watch.current;
    if (accept(current)) {
      resolve(current);
      return;
    }
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      unsubscribe();
      reject(signal?.reason);
    };
    const unsubscribe = watch.subscribe((value) => {
      if (!accept(value)) return;
      unsubscribe();
      signal?.removeEventListener('abort', onAbort);
      resolve(value);
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
