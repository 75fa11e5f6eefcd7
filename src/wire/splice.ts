import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream';

/**
 * Joins two connections so that bytes flow both ways with back-pressure and half-closed sides are passed on. Ends with the
 * later of the two directions; an error on either destroys both.
 * @returns when both directions have ended; never rejects
 */
export function splice(a: Duplex, b: Duplex, signal?: AbortSignal): Promise<void> {
  // A connection of HTTP ends with its reader's end; one that was taken over must not, or what the other still says is lost.
  a.allowHalfOpen = true;
  b.allowHalfOpen = true;
  return new Promise((resolve) => {
    let open = 2;
    const destroy = () => {
      a.destroy();
      b.destroy();
    };
    const settle = (error: Error | null | undefined) => {
      if (error) destroy();
      if (--open > 0) return;
      signal?.removeEventListener('abort', destroy);
      resolve();
    };
    if (signal?.aborted) destroy();
    signal?.addEventListener('abort', destroy, { once: true });
    pipeline(a, b, settle);
    pipeline(b, a, settle);
  });
}
