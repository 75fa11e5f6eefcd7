import type { Duplex } from 'node:stream';
import { afterRead, type PutOff } from '#net/after-read.ts';
import { ByteBuffer } from '../byte-buffer.ts';
import { giveWriteBuffer } from '../write-buffers.ts';
import type { HpackEncoder } from './hpack-encoder.ts';
import { flag, frameBytesMax, frameHeaderBytes, frameType } from './protocol.ts';

/** With as much waiting, writers are asked to pause. */
const pauseBytes = 64 * 1024;
/** What many small messages of one turn come to. */
const firstBytes = 32 * 1024;
/** One TLS record holds this much: frames are cut so that they do not straddle two. */
const recordBytes = 16 * 1024;

const nothing = Buffer.alloc(0);

interface OutputOwner {
  /** More than one stream is open: others are likely to add to what is sent this turn. */
  isBusy(): boolean;
  /** The socket was given something. */
  flushed(): void;
  /** The socket has taken everything it was given. */
  written(): void;
}

/**
 * Frames on their way to the socket. All that one turn of the loop produces leaves in one write, and while a write is under way the next one fills:
 * many streams share system calls and TLS records. A lone stream waits for nobody.
 */
export class FrameOutput implements PutOff {
  readonly #socket: Duplex;
  readonly #owner: OutputOwner;
  #buffer: ByteBuffer | undefined;
  #inFlight: Buffer | undefined;
  #isQueued = false;
  /** Where the DATA frame begins that was appended last; -1 when there is none, or it ends its stream. */
  #lastData = -1;
  #lastDataStream = 0;
  /** Bytes handed to the socket since the start. */
  writtenBytes = 0;

  constructor(socket: Duplex, owner: OutputOwner) {
    this.#socket = socket;
    this.#owner = owner;
  }

  /** Bytes that the socket has not been given yet. */
  get waitingBytes(): number {
    return this.#buffer?.length ?? 0;
  }

  get isFull(): boolean {
    return this.waitingBytes >= pauseBytes;
  }

  get isIdle(): boolean {
    return this.#inFlight === undefined && this.waitingBytes === 0;
  }

  raw(bytes: Buffer): void {
    this.#room(0).append(bytes);
    this.#queue();
  }

  /** HEADERS, and CONTINUATION where the block is longer than a frame. */
  headers(streamId: number, encoder: HpackEncoder, lines: string, isEnd: boolean): void {
    const out = this.#room(frameHeaderBytes);
    const start = out.length;
    out.length += frameHeaderBytes;
    encoder.encode(lines, out);
    const length = out.length - start - frameHeaderBytes;
    const endStream = isEnd ? flag.endStream : 0;
    if (length <= frameBytesMax) {
      putHeader(out.bytes, start, length, frameType.headers, endStream | flag.endHeaders, streamId);
    } else this.#split(out, start, length, streamId, endStream);
    this.#queue();
  }

  /** Makes room for frames with as many bytes of DATA at once, so that what comes in pieces of a record is not moved from one buffer to the next. */
  reserveData(bytes: number): void {
    this.#room(bytes + (Math.ceil(bytes / recordBytes) + 1) * frameHeaderBytes);
  }

  /** At most one frame; `end - start` must not be above what `dataRoom` says. */
  data(streamId: number, bytes: Buffer, start: number, end: number, isEnd: boolean): void {
    const length = end - start;
    this.#lastData = isEnd ? -1 : this.waitingBytes;
    this.#lastDataStream = streamId;
    const out = this.#header(length, frameType.data, isEnd ? flag.endStream : 0, streamId);
    // Most bodies are a frame: `set` takes half the time of `copy`, but only whole arrays.
    if (length === bytes.length) out.bytes.set(bytes, out.length);
    else bytes.copy(out.bytes, out.length, start, end);
    out.length += length;
    this.#queue();
  }

  /**
   * Ends the stream with the DATA frame that was appended last, if that is of this stream and has not left: the end of a small message
   * costs no frame of its own.
   */
  endData(streamId: number): void {
    const buffer = this.#buffer;
    if (buffer !== undefined && this.#lastData >= 0 && this.#lastDataStream === streamId) {
      buffer.bytes[this.#lastData + 4]! |= flag.endStream;
      this.#lastData = -1;
    } else this.data(streamId, nothing, 0, 0, true);
  }

  /** How many bytes the next DATA frame takes: to the end of a TLS record, if that is worth a frame. */
  get dataRoom(): number {
    const rest = recordBytes - frameHeaderBytes - (this.waitingBytes & (recordBytes - 1));
    return rest >= 2048 ? rest : recordBytes - frameHeaderBytes;
  }

  resetStream(streamId: number, code: number): void {
    this.#number(frameType.rstStream, streamId, code);
  }

  windowUpdate(streamId: number, increment: number): void {
    this.#number(frameType.windowUpdate, streamId, increment);
  }

  settings(settings: readonly (readonly [id: number, value: number])[]): void {
    const out = this.#header(settings.length * 6, frameType.settings, 0, 0);
    for (const [id, value] of settings) {
      out.length = out.bytes.writeUInt16BE(id, out.length);
      out.length = out.bytes.writeUInt32BE(value, out.length);
    }
    this.#queue();
  }

  settingsAck(): void {
    this.#header(0, frameType.settings, flag.ack, 0);
    this.#queue();
  }

  ping(payload: Buffer, isAck: boolean): void {
    const out = this.#header(payload.length, frameType.ping, isAck ? flag.ack : 0, 0);
    payload.copy(out.bytes, out.length);
    out.length += payload.length;
    this.#queue();
  }

  goaway(lastStreamId: number, code: number, detail: string): void {
    const out = this.#header(8 + detail.length, frameType.goaway, 0, 0);
    out.length = out.bytes.writeUInt32BE(lastStreamId, out.length);
    out.length = out.bytes.writeUInt32BE(code, out.length);
    out.length += out.bytes.write(detail, out.length, 'latin1');
    this.#queue();
  }

  flush(): void {
    const buffer = this.#buffer;
    if (buffer === undefined || this.#inFlight !== undefined || buffer.length === 0) return;
    const { bytes, length } = buffer;
    this.#buffer = undefined;
    this.#lastData = -1;
    if (this.#socket.destroyed || !this.#socket.writable) {
      giveWriteBuffer(bytes);
      return;
    }
    this.#inFlight = bytes;
    this.writtenBytes += length;
    this.#socket.write(bytes.subarray(0, length), this.#onWritten);
    this.#owner.flushed();
  }

  /** Only for the queues: the read or the turn is over. */
  readOver(): void {
    this.#isQueued = false;
    this.flush();
  }

  readonly #onWritten = (error?: Error | null): void => {
    const bytes = this.#inFlight;
    this.#inFlight = undefined;
    if (error || bytes === undefined) return;
    giveWriteBuffer(bytes);
    this.flush();
    this.#owner.written();
  };

  #queue(): void {
    if (this.#isQueued || this.#inFlight !== undefined) return;
    this.#isQueued = true;
    if (this.#owner.isBusy()) setImmediate(flushQueued, this);
    else afterRead(this);
  }

  #room(count: number): ByteBuffer {
    this.#buffer ??= new ByteBuffer(Math.max(firstBytes, count));
    this.#buffer.ensure(count);
    return this.#buffer;
  }

  #header(length: number, type: number, flags: number, streamId: number): ByteBuffer {
    const out = this.#room(frameHeaderBytes + length);
    putHeader(out.bytes, out.length, length, type, flags, streamId);
    out.length += frameHeaderBytes;
    return out;
  }

  #number(type: number, streamId: number, value: number): void {
    const out = this.#header(4, type, 0, streamId);
    out.length = out.bytes.writeUInt32BE(value, out.length);
    this.#queue();
  }

  #split(out: ByteBuffer, start: number, length: number, streamId: number, endStream: number): void {
    const block = Buffer.from(out.bytes.subarray(start + frameHeaderBytes, start + frameHeaderBytes + length));
    out.length = start;
    for (let at = 0; at < length; at += frameBytesMax) {
      const end = Math.min(length, at + frameBytesMax);
      const type = at === 0 ? frameType.headers : frameType.continuation;
      const flags = (at === 0 ? endStream : 0) | (end === length ? flag.endHeaders : 0);
      this.#header(end - at, type, flags, streamId);
      block.copy(out.bytes, out.length, at, end);
      out.length += end - at;
    }
  }
}

function putHeader(bytes: Buffer, at: number, length: number, type: number, flags: number, streamId: number): void {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  bytes[at + 5] = streamId >>> 24;
  bytes[at + 6] = streamId >>> 16;
  bytes[at + 7] = streamId >>> 8;
  bytes[at + 8] = streamId;
}

function flushQueued(output: FrameOutput): void {
  output.readOver();
}
