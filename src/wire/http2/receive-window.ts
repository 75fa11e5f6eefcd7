import type { FrameOutput } from './frame-output.ts';
import { ConnectionFault, errorCode, initialWindow } from './protocol.ts';
import type { Http2Stream } from './stream.ts';

/**
 * What the peer may send. The connection's window is given back at once, so that one slow reader does not hold up the others, until half of it lies
 * unread; a stream's is given back when its reader took the bytes (RFC 9113 5.2).
 */
export class ReceiveWindow {
  readonly #connectionBytes: number;
  readonly #streamBytes: number;
  readonly #output: FrameOutput;
  #left: number;
  #unconsumed = 0;

  constructor(connectionBytes: number, streamBytes: number, output: FrameOutput) {
    this.#connectionBytes = connectionBytes;
    this.#streamBytes = streamBytes;
    this.#output = output;
    this.#left = initialWindow;
  }

  /** Raises the connection's window from what every connection begins with. */
  open(): void {
    this.#output.windowUpdate(0, this.#connectionBytes - this.#left);
    this.#left = this.#connectionBytes;
  }

  /** A DATA frame of `bytes` has begun. @throws ConnectionFault FLOW_CONTROL_ERROR */
  take(bytes: number): void {
    this.#left -= bytes;
    if (this.#left < 0) {
      throw new ConnectionFault(errorCode.flowControlError, 'the window of the connection is exceeded');
    }
  }

  /** `stream` has read `bytes` that its reader does not count as taken yet. */
  hold(stream: Http2Stream, bytes: number): void {
    stream.unconsumedBytes += bytes;
    this.#unconsumed += bytes;
  }

  /** Its reader wants more, or the stream is over. */
  release(stream: Http2Stream): void {
    this.#unconsumed -= stream.unconsumedBytes;
    stream.unconsumedBytes = 0;
    this.creditStream(stream);
    this.creditConnection();
  }

  creditStream(stream: Http2Stream): void {
    if (stream.isRemoteEnded || stream.isClosed) return;
    const increment = this.#streamBytes - stream.receiveWindow - stream.unconsumedBytes;
    if (increment < this.#streamBytes / 2) return;
    stream.receiveWindow += increment;
    this.#output.windowUpdate(stream.id, increment);
  }

  creditConnection(): void {
    const withheld = Math.max(0, this.#unconsumed - this.#connectionBytes / 2);
    const increment = this.#connectionBytes - withheld - this.#left;
    if (increment < this.#connectionBytes / 4) return;
    this.#left += increment;
    this.#output.windowUpdate(0, increment);
  }
}
