import type { OpenListener } from './listener-spec.ts';

/** Who is at the other end of its connections. */
type Side = 'mesh' | 'application';

/** What the engines give out for a port that is open. */
interface Listener extends AsyncDisposable {
  readonly address: { readonly port: number };
  readonly connections: number;
  /** Of HTTP/2. */
  readonly streams: number;
  close(graceMs: number): Promise<void>;
}

/** The listeners of one thread, for as long as they are open. */
export class OpenListeners implements AsyncDisposable {
  readonly #open = new Map<Listener, Side>();

  add(listener: Listener, side: Side): OpenListener {
    this.#open.set(listener, side);
    const close = async (graceMs: number) => {
      await listener.close(graceMs);
      this.#open.delete(listener);
    };
    return { port: listener.address.port, close, [Symbol.asyncDispose]: () => close(0) };
  }

  /** Of all listeners of one side. */
  sum(side: Side, what: 'connections' | 'streams'): number {
    let sum = 0;
    for (const [listener, itsSide] of this.#open) if (itsSide === side) sum += listener[what];
    return sum;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#open.keys()].map((listener) => listener[Symbol.asyncDispose]()));
    this.#open.clear();
  }
}
