import type { Duplex } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';
import { splice } from './splice.ts';

interface TunnelRules {
  /** Asked again when what it was decided by has changed. Default: it always is. */
  readonly isStillAllowed?: () => boolean;
  /** Milliseconds. */
  readonly endsInMs?: number;
}

interface OpenTunnel extends TunnelRules {
  readonly abort: AbortController;
}

/** Connections that were let through whole: nothing inside can be decided, so each is decided again when policy changes. */
export class OpenTunnels implements Disposable {
  readonly #clock: Clock;
  readonly #tunnels = new Set<OpenTunnel>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#tunnels.size;
  }

  /** Joins the two ends until both have ended, or the rules say no more. */
  join(a: Duplex, b: Duplex, rules: TunnelRules = {}): void {
    const tunnel = { ...rules, abort: new AbortController() };
    this.#tunnels.add(tunnel);
    const { endsInMs } = rules;
    const end = endsInMs === undefined ? undefined : this.#clock.schedule(endsInMs, () => tunnel.abort.abort());
    void splice(a, b, tunnel.abort.signal).then(() => {
      end?.cancel();
      this.#tunnels.delete(tunnel);
    });
  }

  /** To be called for each new policy: what it does not allow any more ends now. */
  decideAgain(): void {
    for (const { isStillAllowed, abort } of this.#tunnels) if (isStillAllowed?.() === false) abort.abort();
  }

  [Symbol.dispose](): void {
    for (const { abort } of this.#tunnels) abort.abort();
  }
}
