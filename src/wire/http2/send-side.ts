import type { Duplex } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';
import { WriteWatch } from '../write-watch.ts';
import { FrameOutput } from './frame-output.ts';
import { HpackEncoder } from './hpack-encoder.ts';
import { ConnectionFault, errorCode, initialWindow, windowMax } from './protocol.ts';
import type { Http2Stream } from './stream.ts';

interface SendSideOptions {
  readonly clock: Clock;
  readonly headerTableBytes: number;
  readonly writeStallMs: number;
}

interface SendSideOwner {
  /** More than one stream is open. */
  readonly isBusy: boolean;
  /** The socket has taken everything it was given. */
  written(): void;
  /** `stream` waits for a window from now on. */
  stalled(stream: Http2Stream): void;
  isGone(why: string): void;
}

/** What leaves a connection: frames, and the order in which streams get the windows and buffers that they share. */
export class SendSide {
  readonly output: FrameOutput;
  readonly encoder: HpackEncoder;
  /** Of the connection; streams have their own. */
  #window = initialWindow;
  readonly #owner: SendSideOwner;
  readonly #clock: Clock;
  readonly #writeWatch: WriteWatch;
  /** Streams with bytes that no window or no buffer takes now, the next one to be served first. */
  readonly #blocked = new Set<Http2Stream>();
  /** Streams that want to hear when less waits to be written. */
  #congested: Http2Stream[] = [];

  constructor(socket: Duplex, owner: SendSideOwner, { clock, headerTableBytes, writeStallMs }: SendSideOptions) {
    this.#owner = owner;
    this.#clock = clock;
    this.output = new FrameOutput(socket, {
      isBusy: () => owner.isBusy,
      flushed: () => this.#writeWatch.check(),
      written: () => this.#written(),
    });
    this.encoder = new HpackEncoder(headerTableBytes);
    this.#writeWatch = new WriteWatch(clock, socket, this.output, writeStallMs, () => {
      owner.isGone('the peer takes nothing of what is sent');
    });
  }

  get isCongested(): boolean {
    return this.output.isFull;
  }

  /**
   * Sends what the windows allow of `bytes` from `start` to `end`, which is little more than one read brings: all of it, unless so much waits already.
   * @returns the index after what was sent
   */
  data(stream: Http2Stream, bytes: Buffer, start: number, end: number, isEnd: boolean): number {
    const { output } = this;
    if (output.isFull) return start;
    const allowed = Math.min(end - start, stream.sendWindow, this.#window);
    if (allowed > output.dataRoom) output.reserveData(allowed);
    let at = start;
    while (at < end) {
      const count = Math.min(end - at, stream.sendWindow, this.#window, output.dataRoom);
      if (count <= 0) break;
      output.data(stream.id, bytes, at, at + count, isEnd && at + count === end);
      at += count;
      stream.sendWindow -= count;
      this.#window -= count;
    }
    if (at > start) stream.stalledSince = undefined;
    return at;
  }

  awaitWindow(stream: Http2Stream): void {
    stream.stalledSince ??= this.#clock.monotonic();
    this.#blocked.add(stream);
    this.#owner.stalled(stream);
  }

  awaitWritten(stream: Http2Stream): void {
    this.#congested.push(stream);
  }

  forget(stream: Http2Stream): void {
    if (this.#blocked.size > 0) this.#blocked.delete(stream);
  }

  /** @throws ConnectionFault FLOW_CONTROL_ERROR */
  grow(increment: number): void {
    this.#window += increment;
    if (this.#window > windowMax) {
      throw new ConnectionFault(errorCode.flowControlError, 'the window of the connection is too large');
    }
    this.serveBlocked();
  }

  /** Each stream in turn gets what there is; who got something goes to the end. */
  serveBlocked(): void {
    for (const stream of [...this.#blocked]) {
      if (this.#window <= 0 || this.output.isFull) return;
      this.#blocked.delete(stream);
      if (!stream.serveWaiting()) continue;
      stream.stalledSince ??= this.#clock.monotonic();
      this.#blocked.add(stream);
    }
  }

  dispose(): void {
    this.#writeWatch.dispose();
    this.#blocked.clear();
    this.#congested = [];
  }

  #written(): void {
    if (this.#blocked.size > 0) this.serveBlocked();
    if (this.#congested.length > 0) {
      const streams = this.#congested;
      this.#congested = [];
      for (const stream of streams) if (!stream.isClosed && !stream.isBlocked) stream.listener?.onWritable();
    }
    this.#owner.written();
  }
}
