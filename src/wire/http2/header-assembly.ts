import { ConnectionFault, errorCode, flag } from './protocol.ts';

/** A whole header block. */
export interface AssembledBlock {
  readonly streamId: number;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** The stream's side ends with it. */
  readonly isEnd: boolean;
}

/** Puts HEADERS and CONTINUATION frames together (RFC 9113 6.2 and 6.10). */
export class HeaderAssembly {
  readonly #blockBytesMax: number;
  readonly #framesMax: number;
  #streamId = 0;
  #isEnd = false;
  #pieces: Buffer[] = [];
  #length = 0;

  constructor(blockBytesMax: number, framesMax: number) {
    this.#blockBytesMax = blockBytesMax;
    this.#framesMax = framesMax;
  }

  /** Between HEADERS and the last CONTINUATION no other frame may come. */
  get isOpen(): boolean {
    return this.#streamId !== 0;
  }

  /** @returns undefined when CONTINUATION follows */
  headers(flags: number, streamId: number, bytes: Buffer, from: number, to: number): AssembledBlock | undefined {
    const { start, end } = contentOf(flags, streamId, bytes, from, to);
    const isEnd = (flags & flag.endStream) !== 0;
    if ((flags & flag.endHeaders) !== 0) return { streamId, bytes, start, end, isEnd };
    this.#streamId = streamId;
    this.#isEnd = isEnd;
    this.#add(bytes, start, end);
    return undefined;
  }

  continuation(flags: number, streamId: number, bytes: Buffer, start: number, end: number): AssembledBlock | undefined {
    if (streamId !== this.#streamId || streamId === 0) throw protocolFault('CONTINUATION does not follow its HEADERS');
    this.#add(bytes, start, end);
    if ((flags & flag.endHeaders) === 0) return undefined;
    const block = Buffer.concat(this.#pieces, this.#length);
    const assembled = { streamId, bytes: block, start: 0, end: block.length, isEnd: this.#isEnd };
    this.#streamId = 0;
    this.#pieces = [];
    this.#length = 0;
    return assembled;
  }

  #add(bytes: Buffer, start: number, end: number): void {
    this.#length += end - start;
    if (this.#length > this.#blockBytesMax || this.#pieces.length >= this.#framesMax) {
      throw new ConnectionFault(errorCode.enhanceYourCalm, 'a header block is too long or in too many pieces');
    }
    this.#pieces.push(Buffer.from(bytes.subarray(start, end)));
  }
}

/** The block's part of a HEADERS payload: without padding and the priority that nobody uses any more. */
function contentOf(
  flags: number,
  streamId: number,
  bytes: Buffer,
  from: number,
  to: number,
): { start: number; end: number } {
  let start = from;
  let padding = 0;
  if ((flags & flag.padded) !== 0) {
    if (start === to) throw frameSizeFault('padded HEADERS without a length of the padding');
    padding = bytes[start++]!;
  }
  if ((flags & flag.priority) !== 0) {
    if (to - start < 5) throw frameSizeFault('HEADERS are too short for a priority');
    if ((bytes.readUInt32BE(start) & 0x7fff_ffff) === streamId) throw protocolFault('a stream depends on itself');
    start += 5;
  }
  if (padding > to - start) throw protocolFault('the padding is longer than the frame');
  return { start, end: to - padding };
}

export function protocolFault(message: string): ConnectionFault {
  return new ConnectionFault(errorCode.protocolError, message);
}

export function frameSizeFault(message: string): ConnectionFault {
  return new ConnectionFault(errorCode.frameSizeError, message);
}
