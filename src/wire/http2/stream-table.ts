import { ClosedStreams } from './closed-streams.ts';
import { protocolFault } from './header-assembly.ts';
import { OpenStreams } from './open-streams.ts';
import { ConnectionFault, errorCode, streamIdMax } from './protocol.ts';
import type { Http2Stream } from './stream.ts';

/** The streams of a connection: those that are open, and what is known of the others by their ids (RFC 9113 5.1.1). */
export class StreamTable {
  readonly #isServer: boolean;
  readonly #open = new OpenStreams();
  readonly #closed = new ClosedStreams();
  #lastPeerId = 0;
  #nextOwnId = 1;

  constructor(role: 'server' | 'client') {
    this.#isServer = role === 'server';
  }

  get size(): number {
    return this.#open.size;
  }

  /** The highest stream that the peer has begun. */
  get lastPeerId(): number {
    return this.#lastPeerId;
  }

  get(id: number): Http2Stream | undefined {
    return this.#open.get(id);
  }

  /** In the order of their numbers; safe against streams that close meanwhile. */
  all(): readonly Http2Stream[] {
    return this.#open.all();
  }

  add(stream: Http2Stream): void {
    this.#open.add(stream);
  }

  close({ id }: Http2Stream, wasReset: boolean): void {
    this.#open.delete(id);
    this.#closed.add(id, wasReset);
  }

  /** The id of our next stream; undefined when they are used up. */
  nextOwnId(): number | undefined {
    if (this.#nextOwnId > streamIdMax) return undefined;
    const id = this.#nextOwnId;
    this.#nextOwnId += 2;
    return id;
  }

  /** Whether HEADERS with this id open a stream. */
  isNew(id: number): boolean {
    return this.#isServer && id > this.#lastPeerId;
  }

  /** @throws ConnectionFault */
  begunByPeer(id: number): void {
    if (id % 2 === 0) throw protocolFault('a client opened a stream with an even number');
    this.#lastPeerId = id;
  }

  /** A stream of the peer that is over before it was open. */
  refused(id: number): void {
    this.#closed.add(id, true);
  }

  /** Frames that were on their way when we reset a stream are no fault. */
  wasReset(id: number): boolean {
    return this.#closed.wasReset(id);
  }

  /** Only HEADERS and PRIORITY may come on a stream that nobody opened. @throws ConnectionFault */
  mustBeKnown(id: number, what: string): void {
    const isOwn = id % 2 === 1 && !this.#isServer;
    const isIdle = isOwn ? id >= this.#nextOwnId : id > this.#lastPeerId;
    if (id === 0 || isIdle) throw protocolFault(`${what} on a stream that nobody opened`);
  }

  /** HEADERS on a stream that is not open: its bytes matter to the table, if it was us who ended it. @throws ConnectionFault */
  mustHaveBeenReset(id: number): void {
    if (!this.#isServer) this.mustBeKnown(id, 'HEADERS');
    if (this.#closed.wasReset(id)) return;
    const code = this.#closed.has(id) ? errorCode.streamClosed : errorCode.protocolError;
    throw new ConnectionFault(code, 'HEADERS on a stream that is over');
  }
}
