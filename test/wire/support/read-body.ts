import type { ServerExchange, ServerExchangeListener } from '#wire/exchange.ts';
import { ruleBroken, WireError } from '#wire/wire-error.ts';

/**
 * The whole body of a small request, for handlers of tests.
 * @throws WireError `body_size` (413) above `bytesMax`; `exchange_aborted` or another when the client fails
 */
export function readBody(exchange: ServerExchange<unknown>, bytesMax: number): Promise<Buffer> {
  const { contentLength } = exchange.request;
  if (contentLength > bytesMax) return Promise.reject(tooLarge(bytesMax));
  if (exchange.ended) return Promise.reject(new WireError('exchange_aborted', 'the exchange is over'));
  return new Promise((resolve, reject) => {
    exchange.listen(new WholeBody(bytesMax, resolve, reject));
    exchange.readBody();
  });
}

class WholeBody implements ServerExchangeListener {
  readonly #bytesMax: number;
  readonly #resolve: (body: Buffer) => void;
  readonly #reject: (error: WireError) => void;
  readonly #pieces: Buffer[] = [];
  #length = 0;

  constructor(bytesMax: number, resolve: (body: Buffer) => void, reject: (error: WireError) => void) {
    this.#bytesMax = bytesMax;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onRequestData(bytes: Buffer): boolean {
    this.#length += bytes.length;
    if (this.#length <= this.#bytesMax) this.#pieces.push(Buffer.from(bytes));
    else {
      this.#pieces.length = 0;
      this.#reject(tooLarge(this.#bytesMax));
      // Silence for good: the rest stays in the socket until the response closes the connection or the body times out.
      return false;
    }
    return true;
  }

  onRequestEnd(): void {
    this.#resolve(Buffer.concat(this.#pieces));
  }

  onWritable(): void {}

  onAborted(error: WireError): void {
    this.#reject(error);
  }
}

function tooLarge(bytesMax: number): WireError {
  return ruleBroken('body_size', `the body is longer than ${bytesMax} bytes`);
}
