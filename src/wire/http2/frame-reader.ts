import { ConnectionFault, errorCode, flag, frameBytesMax, frameHeaderBytes, frameType } from './protocol.ts';

/** What a connection hears of the bytes that come. */
export interface FrameSink {
  /** A whole frame: any but DATA without padding. Its payload is `bytes` from `start` to `end`, valid during the call. */
  frame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void;
  /**
   * A piece of a DATA frame without padding, as soon as it is there, valid during the call. `frameBytes` is the length of the whole frame with the first piece, else 0;
   * `isEnd`: the last piece of the last frame of its stream.
   */
  data(streamId: number, piece: Buffer, frameBytes: number, isEnd: boolean): void;
  /** Nothing further is wanted. */
  readonly isStopped: boolean;
}

const nothing = Buffer.alloc(0);

/** Cuts a byte stream into frames (RFC 9113 4.1). Payloads of DATA pass in pieces; of other frames at most one is held. */
export class FrameReader {
  readonly #sink: FrameSink;
  /** The beginning of a frame whose end has not come. */
  #held: Buffer = nothing;
  #dataStream = 0;
  #dataLeft = 0;
  #dataEnds = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** A frame has begun and not ended. */
  get isInFrame(): boolean {
    return this.#held.length > 0 || this.#dataLeft > 0;
  }

  /** `chunk` is not kept. @throws ConnectionFault FRAME_SIZE_ERROR, and what the sink throws */
  read(chunk: Buffer): void {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = nothing;
    let at = this.#restOfData(bytes);
    while (!this.#sink.isStopped && at + frameHeaderBytes <= bytes.length) {
      const next = this.#frame(bytes, at);
      if (next < 0) break;
      at = next;
    }
    if (!this.#sink.isStopped && at < bytes.length) this.#held = Buffer.from(bytes.subarray(at));
  }

  /** @returns the index after the frame; -1 when it is not complete */
  #frame(bytes: Buffer, at: number): number {
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    if (length > frameBytesMax) throw new ConnectionFault(errorCode.frameSizeError, 'a frame is longer than allowed');
    const type = bytes[at + 3]!;
    const flags = bytes[at + 4]!;
    const streamId = ((bytes[at + 5]! & 0x7f) << 24) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 8) | bytes[at + 8]!;
    const start = at + frameHeaderBytes;
    const end = start + length;
    if (type === frameType.data && (flags & flag.padded) === 0) {
      const stop = Math.min(end, bytes.length);
      this.#dataStream = streamId;
      this.#dataLeft = end - stop;
      this.#dataEnds = (flags & flag.endStream) !== 0;
      const piece = start === stop ? nothing : bytes.subarray(start, stop);
      this.#sink.data(streamId, piece, length, this.#dataEnds && this.#dataLeft === 0);
      return stop;
    }
    if (end > bytes.length) return -1;
    this.#sink.frame(type, flags, streamId, bytes, start, end);
    return end;
  }

  #restOfData(bytes: Buffer): number {
    if (this.#dataLeft === 0) return 0;
    const count = Math.min(this.#dataLeft, bytes.length);
    this.#dataLeft -= count;
    this.#sink.data(this.#dataStream, bytes.subarray(0, count), 0, this.#dataEnds && this.#dataLeft === 0);
    return count;
  }
}
