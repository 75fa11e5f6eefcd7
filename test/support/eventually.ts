import { setTimeout as delay } from 'node:timers/promises';

/** Repeats `check` until it stops throwing; after `withinMs` the last error is thrown. Replaces every sleep in tests. */
export async function eventually<T>(check: () => T | Promise<T>, withinMs = 10_000, everyMs = 10): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
      await delay(everyMs);
    }
  }
}
