import type { ClientExchange, ClientExchangeListener } from '#wire/exchange.ts';
import type { OutgoingRequest, ResponseHead } from '#wire/message.ts';
import type { WireError } from '#wire/wire-error.ts';

export interface RecordedResponse {
  readonly informed: readonly number[];
  readonly status: number | undefined;
  readonly head: ResponseHead | undefined;
  readonly body: string;
  readonly trailers: string;
  readonly error: WireError | undefined;
}

/** Hears a client exchange to its end. `body` is sent when the head is on its way; null leaves the request open. */
export class ClientRecorder implements ClientExchangeListener {
  readonly done: Promise<RecordedResponse>;
  exchange: ClientExchange | undefined;
  readonly #body: readonly string[] | null;
  readonly #informed: number[] = [];
  readonly #pieces: Buffer[] = [];
  #head: ResponseHead | undefined;
  #resolve: (recorded: RecordedResponse) => void = () => {};

  constructor(body: readonly string[] | null = []) {
    this.#body = body;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  onRequestReady(exchange: ClientExchange): void {
    this.exchange = exchange;
    if (this.#body === null) return;
    for (const piece of this.#body) exchange.write(Buffer.from(piece, 'latin1'));
    exchange.end();
  }

  onRequestWritable(): void {}

  onInformed(head: ResponseHead): void {
    this.#informed.push(head.status);
  }

  onResponse(head: ResponseHead): void {
    this.#head = head;
  }

  onResponseData(bytes: Buffer): boolean {
    this.#pieces.push(Buffer.from(bytes));
    return true;
  }

  onResponseEnd(trailers: string): void {
    this.#finish(trailers, undefined);
  }

  onFailed(error: WireError): void {
    this.#finish('', error);
  }

  #finish(trailers: string, error: WireError | undefined): void {
    this.#resolve({
      informed: this.#informed,
      status: this.#head?.status,
      head: this.#head,
      body: Buffer.concat(this.#pieces).toString('latin1'),
      trailers,
      error,
    });
  }
}

export function outgoing(method: string, overrides: Partial<OutgoingRequest> = {}): OutgoingRequest {
  return {
    method,
    target: '/',
    authority: 'a',
    fields: '',
    framing: 'none',
    contentLength: -1,
    expectsContinue: false,
    acceptsTrailers: false,
    ...overrides,
  };
}
