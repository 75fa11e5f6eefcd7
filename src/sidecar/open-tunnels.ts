import type { Duplex } from 'node:stream';
import { splice } from '#wire/splice.ts';

interface OpenTunnel {
  readonly isStillAllowed: () => boolean;
  readonly abort: AbortController;
}

/** Opaque connections that were let through: nothing inside can be decided, so each is decided again when policy changes. */
export class OpenTunnels implements Disposable {
  readonly #tunnels = new Set<OpenTunnel>();

  get size(): number {
    return this.#tunnels.size;
  }

  /** Joins the two ends until both have ended, or `isStillAllowed` says no. */
  join(a: Duplex, b: Duplex, isStillAllowed: () => boolean): void {
    const tunnel = { isStillAllowed, abort: new AbortController() };
    this.#tunnels.add(tunnel);
    void splice(a, b, tunnel.abort.signal).then(() => this.#tunnels.delete(tunnel));
  }

  /** To be called for each new policy: what it does not allow any more ends now. */
  decideAgain(): void {
    for (const { isStillAllowed, abort } of this.#tunnels) if (!isStillAllowed()) abort.abort();
  }

  [Symbol.dispose](): void {
    for (const { abort } of this.#tunnels) abort.abort();
  }
}
