import { CellmeshError, messageOf } from './errors.ts';

/** What both a `Worker` and its `parentPort` can do. */
interface ThreadPort {
  postMessage(value: unknown): void;
  on(event: 'message', listener: (value: unknown) => void): unknown;
}

type Calls = Readonly<Record<string, (argument: never) => unknown>>;

type Message =
  | { readonly tag: 'call'; readonly id: number; readonly name: string; readonly argument: unknown }
  | { readonly tag: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly tag: 'failure'; readonly id: number; readonly code: string | undefined; readonly message: string };

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Calls between two threads of this process. What is called one after the other is begun one after the other; arguments and answers are what
 * structured clone takes. `Theirs` and `ours`: what the other side can be asked, and what it can ask here.
 */
export class ThreadChannel<Theirs extends Calls> {
  readonly #port: ThreadPort;
  readonly #ours: Calls;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #closed: Error | undefined;

  constructor(port: ThreadPort, ours: Calls) {
    this.#port = port;
    this.#ours = ours;
    port.on('message', (message) => void this.#onMessage(message as Message));
  }

  /** Rejects with what the other side throws: a CellmeshError keeps its code. */
  call<N extends keyof Theirs & string>(
    name: N,
    argument: Parameters<Theirs[N]>[0],
  ): Promise<Awaited<ReturnType<Theirs[N]>>> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#port.postMessage({ tag: 'call', id, name, argument } satisfies Message);
    });
  }

  /** The other side is gone: nothing that was asked will be answered. */
  close(reason: Error): void {
    this.#closed = reason;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }

  async #onMessage(message: Message): Promise<void> {
    if (message.tag === 'call') return this.#answer(message);
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.tag === 'answer') waiting?.resolve(message.value as never);
    else waiting?.reject(errorOf(message));
  }

  async #answer({ id, name, argument }: Message & { tag: 'call' }): Promise<void> {
    let answer: Message;
    try {
      answer = { tag: 'answer', id, value: await this.#ours[name]!(argument as never) };
    } catch (error) {
      const code = error instanceof CellmeshError ? error.code : undefined;
      answer = { tag: 'failure', id, code, message: messageOf(error) };
    }
    if (this.#closed === undefined) this.#port.postMessage(answer);
  }
}

function errorOf({ code, message }: Message & { tag: 'failure' }): Error {
  return code === undefined ? new Error(message) : new CellmeshError(code as CellmeshError['code'], message);
}
