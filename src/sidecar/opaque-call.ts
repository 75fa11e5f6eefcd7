import type { Duplex } from 'node:stream';
import type { Client, ClientExchange, ClientExchangeListener, ServerExchange, Upstream } from '#wire/exchange.ts';
import type { ResponseHead } from '#wire/message.ts';
import type { WireError } from '#wire/wire-error.ts';

interface OpaqueCallOptions {
  readonly client: Client;
  readonly upstream: Upstream;
  /** What CONNECT asks for: `host:port` of the callee. */
  readonly authority: string;
  readonly fields: string;
  readonly onTunnel: (local: Duplex, remote: Duplex) => void;
  /** The callee's sidecar said no: its status, and the id of its decision. */
  readonly onRefused: (head: ResponseHead) => void;
  readonly onFailed: (error: WireError) => void;
  /** The application's side ended before there was an answer. */
  readonly onGivenUp: () => void;
}

/** Carries an opaque connection to the callee's sidecar, by CONNECT (RFC 9113 8.5). */
export function callOpaque(exchange: ServerExchange<unknown>, options: OpaqueCallOptions): void {
  const call = new OpaqueCall(exchange, options);
  const { client, upstream, authority, fields } = options;
  const request = {
    method: 'CONNECT',
    target: '',
    authority,
    fields,
    framing: 'chunked',
    contentLength: -1,
    expectsContinue: false,
    acceptsTrailers: false,
  } as const;
  call.begun(client.request(upstream, request, call));
}

class OpaqueCall implements ClientExchangeListener {
  readonly #exchange: ServerExchange<unknown>;
  readonly #options: OpaqueCallOptions;
  #isOver = false;

  constructor(exchange: ServerExchange<unknown>, options: OpaqueCallOptions) {
    this.#exchange = exchange;
    this.#options = options;
  }

  begun(request: ClientExchange): void {
    const onAborted = () => {
      if (this.#isOver) return;
      this.#isOver = true;
      request.abort();
      this.#options.onGivenUp();
    };
    if (!this.#isOver) {
      this.#exchange.listen({ onRequestData: () => false, onRequestEnd() {}, onWritable() {}, onAborted });
    }
  }

  onRequestReady(): void {}

  onRequestWritable(): void {}

  onInformed(): void {}

  onTunnel(remote: Duplex): void {
    this.#isOver = true;
    if (this.#exchange.ended) remote.destroy();
    else this.#options.onTunnel(this.#exchange.acceptTunnel(), remote);
  }

  onResponse(head: ResponseHead): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.onRefused(head);
  }

  /** Of an answer that refuses: nobody can read it. */
  onResponseData(): boolean {
    return true;
  }

  onResponseEnd(): void {}

  onFailed(error: WireError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.onFailed(error);
  }
}
