import type { SnapshotCall } from '#policy/snapshot.ts';
import { messageOf } from '#runtime/errors.ts';
import type { ListenerSpec, OpenListener } from './listener-spec.ts';

/** A loopback port of one callee (`calls[].listen`); opaque where the callee's first port is `protocol: tcp`. */
type Wanted = ListenerSpec & { readonly tag: 'callee' };

interface CalleeListenersOptions {
  readonly open: (wanted: Wanted) => Promise<OpenListener>;
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
  readonly #open = new Map<string, OpenListener>();
  #turn: Promise<void> = Promise.resolve();

  constructor(options: CalleeListenersOptions) {
    this.#options = options;
  }

  /** One change after the other; resolves when this one is done. */
  apply(calls: readonly SnapshotCall[]): Promise<void> {
    const wanted = calls.flatMap(({ id, listen, ports }): Wanted[] =>
      listen === undefined ? [] : [{ tag: 'callee', ...listen, callee: id, isOpaque: ports[0]?.protocol === 'tcp' }],
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
