import type { Clock } from '#runtime/clock.ts';
import type { ClientExchange, ClientExchangeListener, Upstream } from '#wire/exchange.ts';
import type { OutgoingRequest, ResponseHead } from '#wire/message.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';

interface Question {
  readonly upstream: Upstream;
  readonly request: OutgoingRequest;
  /** Of the request; empty when there is none. */
  readonly body: Buffer;
  /** Else the head is enough, and the rest is not waited for. */
  readonly wantsBody: boolean;
}

export interface Answer {
  readonly head: ResponseHead;
  readonly body: Buffer;
  /** Field lines. */
  readonly trailers: string;
}

/** The metrics of an application are a megabyte when there are too many. */
const bodyBytesMax = 16 * 1024 * 1024;

/**
 * One request on a connection of its own, as the kubelet makes it, by the same engine that forwards.
 * @throws WireError; the signal's reason
 */
export async function ask(question: Question, clock: Clock, signal: AbortSignal): Promise<Answer> {
  await using pool = new UpstreamPool({ clock, limits: { bodyBytesMax } });
  return await new Promise<Answer>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    pool.request(question.upstream, question.request, new Listener(question, resolve, reject));
  });
}

class Listener implements ClientExchangeListener {
  readonly #question: Question;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (error: Error) => void;
  readonly #pieces: Buffer[] = [];
  #head: ResponseHead | undefined;

  constructor(question: Question, resolve: (answer: Answer) => void, reject: (error: Error) => void) {
    this.#question = question;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onRequestReady(exchange: ClientExchange): void {
    const { body } = this.#question;
    if (body.length === 0) return;
    exchange.write(body);
    exchange.end();
  }

  onRequestWritable(): void {}

  onInformed(): void {}

  onResponse(head: ResponseHead): void {
    this.#head = head;
    if (!this.#question.wantsBody) this.#done('');
  }

  onResponseData(bytes: Buffer): boolean {
    if (this.#question.wantsBody) this.#pieces.push(Buffer.from(bytes));
    return true;
  }

  onResponseEnd(trailers: string): void {
    this.#done(trailers);
  }

  onFailed(error: Error): void {
    this.#reject(error);
  }

  #done(trailers: string): void {
    this.#resolve({ head: this.#head!, body: Buffer.concat(this.#pieces), trailers });
  }
}
