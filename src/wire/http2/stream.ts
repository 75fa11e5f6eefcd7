import { ByteBuffer } from '../byte-buffer.ts';
import { giveWriteBuffer } from '../write-buffers.ts';
import type { DecodedBlock } from './decoded-block.ts';
import { errorCode, windowMax } from './protocol.ts';
import type { ReceiveWindow } from './receive-window.ts';
import type { SendSide } from './send-side.ts';

/** What an exchange hears of its stream. */
export interface StreamListener {
  /** A header block after the first of a server's stream: response heads on the client's side, trailers on both. */
  onBlock(block: DecodedBlock, isEnd: boolean): void;
  /** `bytes` are valid during the call. False: they are kept in mind as not consumed until `resume`. */
  onData(bytes: Buffer): boolean;
  /** The peer's side is complete, without trailers. */
  onRemoteEnd(): void;
  /** The peer reset the stream, or the connection is gone (`code` undefined). Nothing follows. */
  onReset(code: number | undefined): void;
  /** A `write` answered false before; there is room again. */
  onWritable(): void;
  /** The time set with `Http2Connection.setDeadline` has come. */
  onExpired(): void;
}

/** What a stream needs of its connection. */
export interface StreamHost {
  readonly sending: SendSide;
  readonly receiving: ReceiveWindow;
  /** Both sides are done, or it was reset. */
  closed(stream: Http2Stream, wasReset: boolean): void;
}

/** One stream: its two halves, its windows, and what waits for them (RFC 9113 5.1 and 5.2). */
export class Http2Stream {
  readonly id: number;
  listener: StreamListener | undefined;
  /** What may be sent; negative after the peer made its initial window smaller. */
  sendWindow: number;
  /** What the peer may still send. */
  receiveWindow: number;
  /** Received and not consumed: the peer's window is made larger when the reader wants more. */
  unconsumedBytes = 0;
  isLocalEnded = false;
  isRemoteEnded = false;
  isClosed = false;
  /** Clock.monotonic() at which something must have happened. */
  deadlineAt = Number.POSITIVE_INFINITY;
  /** Since when bytes wait for the peer's window; undefined when none do. */
  stalledSince: number | undefined;
  readonly #host: StreamHost;
  /** What no window takes yet, from `#waitingStart`. */
  #waiting: ByteBuffer | undefined;
  #waitingStart = 0;
  /** What waits is followed by the end of our side, with these trailers. */
  #endAfterWaiting: string | undefined;
  #isRestUnwanted = false;

  constructor(id: number, host: StreamHost, sendWindow: number, receiveWindow: number) {
    this.id = id;
    this.#host = host;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  get isBlocked(): boolean {
    return this.#waiting !== undefined;
  }

  headers(lines: string, isEnd: boolean, isRestUnwanted = false): void {
    if (this.isClosed || this.isLocalEnded) return;
    this.#isRestUnwanted = isRestUnwanted;
    this.#sendHeaders(lines, isEnd);
    if (isEnd) this.#localEnded();
  }

  /** False: no room, wait for `onWritable`. The bytes are taken either way. */
  write(bytes: Buffer): boolean {
    if (this.isClosed || this.isLocalEnded || bytes.length === 0) return true;
    if (this.#waiting !== undefined) {
      this.#waiting.append(bytes);
      return false;
    }
    const sent = this.#host.sending.data(this, bytes, 0, bytes.length, false);
    if (sent < bytes.length) {
      this.#waiting = new ByteBuffer(bytes.length - sent);
      this.#waiting.append(bytes.subarray(sent));
      this.#host.sending.awaitWindow(this);
      return false;
    }
    if (!this.#host.sending.isCongested) return true;
    this.#host.sending.awaitWritten(this);
    return false;
  }

  /**
   * `trailers`: clean field lines, or empty. `isRestUnwanted`: what the peer has not sent by then, it need not send (RFC 9113 8.1).
   */
  end(trailers: string, isRestUnwanted = false): void {
    if (this.isClosed || this.isLocalEnded || this.#endAfterWaiting !== undefined) return;
    this.#isRestUnwanted = isRestUnwanted;
    if (this.#waiting !== undefined) this.#endAfterWaiting = trailers;
    else this.#endNow(trailers);
  }

  /** The peer's window grew, or it is this stream's turn on the connection's. True when something still waits. */
  serveWaiting(): boolean {
    const waiting = this.#waiting;
    if (waiting === undefined || this.isClosed) return false;
    const isLast = this.#endAfterWaiting === '';
    this.#waitingStart = this.#host.sending.data(this, waiting.bytes, this.#waitingStart, waiting.length, isLast);
    if (this.#waitingStart < waiting.length) return true;
    this.#dropWaiting();
    if (isLast) this.#localEnded();
    else if (this.#endAfterWaiting !== undefined) this.#endNow(this.#endAfterWaiting);
    else this.listener?.onWritable();
    return false;
  }

  resume(): void {
    if (this.unconsumedBytes > 0 && !this.isClosed) this.#host.receiving.release(this);
  }

  /** Ends both halves at once. The listener hears nothing of it. */
  reset(code: number): void {
    if (this.isClosed) return;
    this.#host.sending.output.resetStream(this.id, code);
    this.close(true);
  }

  /** Tells the peer what it did wrong after all was answered: also where both halves have ended already. */
  refuse(code: number): void {
    if (this.isBlocked) return;
    if (!this.isClosed) this.reset(code);
    else if (code !== errorCode.noError) this.#host.sending.output.resetStream(this.id, code);
  }

  /** The peer changed its initial window by `difference`. @returns false when the window leaves its range */
  shiftSendWindow(difference: number): boolean {
    this.sendWindow += difference;
    return this.sendWindow <= windowMax;
  }

  /** Nobody sends anything on it any more. */
  close(wasReset: boolean): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#dropWaiting();
    this.#host.closed(this, wasReset);
  }

  /** The peer's side is complete. */
  remoteEnded(): void {
    this.isRemoteEnded = true;
    if (this.isLocalEnded) this.close(false);
  }

  #dropWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#waitingStart = 0;
    if (waiting !== undefined) giveWriteBuffer(waiting.bytes);
  }

  #sendHeaders(lines: string, isEnd: boolean): void {
    const { output, encoder } = this.#host.sending;
    output.headers(this.id, encoder, lines, isEnd);
  }

  #endNow(trailers: string): void {
    if (trailers === '') this.#host.sending.output.endData(this.id);
    else this.#sendHeaders(trailers, true);
    this.#localEnded();
  }

  #localEnded(): void {
    this.isLocalEnded = true;
    if (this.isRemoteEnded) this.close(false);
    else if (this.#isRestUnwanted) this.reset(errorCode.noError);
  }
}
