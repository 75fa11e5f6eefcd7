import { networkInterfaces } from 'node:os';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import { isListening } from './is-listening.ts';

/** Often enough to notice an application that was restarted with another listener, rare enough to cost nothing. */
export const openPortCheckEveryMs = 30_000;
/** While one is open this pod gets no traffic: it should come back soon after it was closed. */
const openPortRetryMs = 2_000;

interface OpenPortCheckOptions {
  /** The addresses at which others reach this pod. */
  readonly addresses: readonly string[];
  /** Where the application should be reached, by its sidecar alone. */
  readonly applicationHost: string;
  readonly ports: readonly number[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told after every round: `address:port` of each listener that answered, none when all is well. */
  readonly onResult: (open: readonly string[]) => void;
}

/**
 * Dials the application's ports at the pod's own addresses, as a neighbour would: what answers there bypasses the sidecar, its mTLS and its
 * policy (DESIGN.md 6).
 */
export class OpenPortCheck implements Disposable {
  readonly #options: OpenPortCheckOptions;
  readonly #abort = new AbortController();
  #timer: { cancel(): void } | undefined;

  constructor(options: OpenPortCheckOptions) {
    this.#options = options;
  }

  /** Resolves after the first round; later rounds follow by themselves. */
  async start(): Promise<void> {
    await this.#round();
  }

  [Symbol.dispose](): void {
    this.#abort.abort();
    this.#timer?.cancel();
  }

  async #round(): Promise<void> {
    const { addresses, applicationHost, ports, clock, onResult } = this.#options;
    const targets = addresses
      .filter((address) => address !== applicationHost)
      .flatMap((address) => ports.map((port) => ({ address, port })));
    const answers = await Promise.all(
      targets.map(({ address, port }) => isListening(address, port, clock, this.#abort.signal)),
    );
    if (this.#abort.signal.aborted) return;
    const open = targets.filter((_, index) => answers[index]).map(format);
    onResult(open);
    const pauseMs = open.length > 0 ? openPortRetryMs : openPortCheckEveryMs;
    this.#timer = clock.schedule(pauseMs, () => void this.#round());
  }
}

/** The addresses of this machine that others can reach. */
export function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);
}

function format({ address, port }: { address: string; port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
