import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { SnapshotCall } from '#policy/snapshot.ts';
import { messageOf } from '#runtime/errors.ts';
import type { PlainListener } from '#wire/listen-plain.ts';

/** A loopback port of one callee (`calls[].listen`). */
interface Wanted {
  readonly host: string;
  readonly port: number;
  readonly callee: SpiffeId;
  /** The callee's first port is `protocol: tcp`. */
  readonly isOpaque: boolean;
}

interface CalleeListenersOptions {
  readonly open: (wanted: Wanted) => Promise<PlainListener>;
  /** Told which ports could not be opened, and why; empty when all are open. */
  readonly onProblems: (problems: readonly string[]) => void;
  /** For requests in flight when a port is given up. */
  readonly graceMs: number;
}

/**
 * Keeps a listener for each `calls[].listen` of the policy in force. A new policy opens and closes what it changes and touches nothing else
 * (DESIGN.md 6: changing policy never closes a listener that is still wanted).
 */
export class CalleeListeners implements AsyncDisposable {
  readonly #options: CalleeListenersOptions;
  readonly #open = new Map<string, PlainListener>();
  #turn: Promise<void> = Promise.resolve();

  constructor(options: CalleeListenersOptions) {
    this.#options = options;
  }

  /** Open connections of all listeners. */
  get connections(): number {
    let connections = 0;
    for (const listener of this.#open.values()) connections += listener.connections;
    return connections;
  }

  /** HTTP/2 streams of all of them. */
  get streams(): number {
    let streams = 0;
    for (const listener of this.#open.values()) streams += listener.streams;
    return streams;
  }

  /** One change after the other; resolves when this one is done. */
  apply(calls: readonly SnapshotCall[]): Promise<void> {
    const wanted = calls.flatMap(({ id, listen, ports }) =>
      listen === undefined ? [] : [{ ...listen, callee: id, isOpaque: ports[0]?.protocol === 'tcp' }],
    );
    this.#turn = this.#turn.then(() => this.#change(new Map(wanted.map((one) => [keyOf(one), one]))));
    return this.#turn;
  }

  async close(graceMs: number): Promise<void> {
    await this.#turn;
    const listeners = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(listeners.map((listener) => listener.close(graceMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0);
  }

  async #change(wanted: ReadonlyMap<string, Wanted>): Promise<void> {
    for (const [key, listener] of this.#open) {
      if (wanted.has(key)) continue;
      this.#open.delete(key);
      void listener.close(this.#options.graceMs);
    }
    const problems: string[] = [];
    for (const [key, one] of wanted) {
      if (this.#open.has(key)) continue;
      try {
        this.#open.set(key, await this.#options.open(one));
      } catch (error) {
        problems.push(messageOf(error));
      }
    }
    this.#options.onProblems(problems);
  }
}

function keyOf({ host, port, callee, isOpaque }: Wanted): string {
  return `${host} ${port} ${callee} ${isOpaque}`;
}
