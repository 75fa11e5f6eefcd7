import type { ConnectionUser, Http2ConnectionOptions } from './connection.ts';
import type { DecodedBlock } from './decoded-block.ts';
import { FloodBudget } from './flood-budget.ts';
import type { FrameSink } from './frame-reader.ts';
import { type AssembledBlock, frameSizeFault, HeaderAssembly, protocolFault } from './header-assembly.ts';
import { type BlockLimits, HpackDecoder } from './hpack-decoder.ts';
import { http2Limits } from './http2-limits.ts';
import type { PeerSettings } from './peer-settings.ts';
import { ConnectionFault, errorCode, flag, frameType } from './protocol.ts';
import type { ReceiveWindow } from './receive-window.ts';
import type { SendSide } from './send-side.ts';
import type { Http2Stream } from './stream.ts';
import type { StreamTable } from './stream-table.ts';

/** A window update smaller than this is not worth its frame: many of them are an attack. */
const smallUpdateBytes = 64;
/** Answers to control frames that the peer does not read. */
const waitingBytesMax = 1024 * 1024;
/** Pseudo-header fields, which HTTP/1.1 does not count as fields. */
const pseudoFieldsMax = 5;

/** What frames are about. */
interface ConnectionCore {
  readonly options: Http2ConnectionOptions;
  readonly user: ConnectionUser;
  readonly peer: PeerSettings;
  readonly streams: StreamTable;
  readonly sending: SendSide;
  readonly receiving: ReceiveWindow;
  readonly isStopped: boolean;
  newStream(id: number): Http2Stream;
  /** The peer broke a rule of the stream. */
  fail(stream: Http2Stream, code: number): void;
}

/** What each frame of the peer means (RFC 9113 6). Rules that it breaks are thrown as `ConnectionFault`. */
export class FrameDispatch implements FrameSink {
  /** Frames by which the peer came on: not those that only lengthen a header block. */
  framesRead = 0;
  /** The peer's SETTINGS have come. */
  isSettled = false;
  /** New streams of the peer are not looked at any more. */
  refusesMore = false;
  readonly #core: ConnectionCore;
  readonly #streams: StreamTable;
  readonly #assembly: HeaderAssembly;
  readonly #decoder: HpackDecoder;
  readonly #blockLimits: BlockLimits;
  readonly #flood: FloodBudget;

  constructor(core: ConnectionCore) {
    const { http } = core.options;
    this.#core = core;
    this.#streams = core.streams;
    this.#assembly = new HeaderAssembly(2 * http.headBytesMax, http2Limits.blockFramesMax);
    this.#decoder = new HpackDecoder(http2Limits.headerTableBytes);
    this.#blockLimits = { listBytesMax: http.headBytesMax, fieldsMax: http.fieldsMax + pseudoFieldsMax };
    this.#flood = new FloodBudget(http2Limits.floodMax);
  }

  get isStopped(): boolean {
    return this.#core.isStopped;
  }

  /** A header block has begun and not ended. */
  get isInBlock(): boolean {
    return this.#assembly.isOpen;
  }

  /** @throws ConnectionFault when there were too many of what only costs */
  spend(): void {
    this.#flood.spend(this.#core.options.clock.monotonic());
    if (this.#core.sending.output.waitingBytes > waitingBytesMax) {
      throw new ConnectionFault(errorCode.enhanceYourCalm, 'answers are not read');
    }
  }

  data(streamId: number, piece: Buffer, frameBytes: number, isEnd: boolean): void {
    this.framesRead++;
    if (!this.isSettled || this.#assembly.isOpen) throw protocolFault('DATA in the wrong place');
    if (frameBytes > 0) this.#core.receiving.take(frameBytes);
    else if (piece.length === 0 && !isEnd) this.spend();
    const stream = this.#streams.get(streamId);
    if (stream === undefined) this.#dataOnClosed(streamId);
    else this.#dataOn(stream, piece, frameBytes, isEnd);
    this.#core.receiving.creditConnection();
  }

  frame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    // The time for a head runs on until its last piece.
    if (type !== frameType.continuation || (flags & flag.endHeaders) !== 0) this.framesRead++;
    if (!this.isSettled && type !== frameType.settings) throw protocolFault('the first frame is not SETTINGS');
    if (this.#assembly.isOpen && type !== frameType.continuation) {
      throw protocolFault('a frame stands between HEADERS and CONTINUATION');
    }
    switch (type) {
      case frameType.data:
        return this.#paddedData(flags, streamId, bytes, start, end);
      case frameType.headers:
        if (streamId === 0) throw protocolFault('HEADERS on stream 0');
        return this.#block(this.#assembly.headers(flags, streamId, bytes, start, end));
      case frameType.continuation:
        if (start === end) this.spend();
        return this.#block(this.#assembly.continuation(flags, streamId, bytes, start, end));
      case frameType.priority:
        return this.#priority(streamId, bytes, start, end);
      case frameType.rstStream:
        return this.#resetByPeer(streamId, bytes, start, end);
      case frameType.settings:
        return this.#settings(flags, streamId, bytes, start, end);
      case frameType.pushPromise:
        throw protocolFault('PUSH_PROMISE was never allowed');
      case frameType.ping:
        return this.#ping(flags, streamId, bytes, start, end);
      case frameType.goaway:
        return this.#goaway(streamId, bytes, start, end);
      case frameType.windowUpdate:
        return this.#windowUpdate(streamId, bytes, start, end);
    }
  }

  #dataOn(stream: Http2Stream, piece: Buffer, frameBytes: number, isEnd: boolean): void {
    if (stream.isRemoteEnded) return this.#core.fail(stream, errorCode.streamClosed);
    stream.receiveWindow -= frameBytes;
    if (stream.receiveWindow < 0) return this.#core.fail(stream, errorCode.flowControlError);
    if (piece.length > 0) {
      if (stream.listener?.onData(piece) === false) this.#core.receiving.hold(stream, piece.length);
      else this.#core.receiving.creditStream(stream);
    }
    if (!isEnd || stream.isClosed) return;
    stream.remoteEnded();
    stream.listener?.onRemoteEnd();
  }

  #dataOnClosed(streamId: number): void {
    this.#streams.mustBeKnown(streamId, 'DATA');
    if (this.#streams.wasReset(streamId)) return;
    this.spend();
    this.#core.sending.output.resetStream(streamId, errorCode.streamClosed);
  }

  #paddedData(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (start === end) throw frameSizeFault('padded DATA without a length of the padding');
    const padding = bytes[start]!;
    if (padding >= end - start) throw protocolFault('the padding is longer than the frame');
    if (padding + 1 === end - start) this.spend();
    this.data(streamId, bytes.subarray(start + 1, end - padding), end - start, (flags & flag.endStream) !== 0);
  }

  #block(assembled: AssembledBlock | undefined): void {
    if (assembled === undefined) return;
    const { streamId, bytes, start, end, isEnd } = assembled;
    const isNew = this.#streams.isNew(streamId);
    const stream = this.#streams.get(streamId);
    if (!isNew && stream === undefined) this.#streams.mustHaveBeenReset(streamId);
    const block = this.#decoder.decode(bytes, start, end, this.#blockLimits);
    if (isNew) this.#openedByPeer(streamId, block, isEnd);
    else if (stream?.isRemoteEnded) this.#core.fail(stream, errorCode.streamClosed);
    else if (stream !== undefined) {
      if (isEnd) stream.remoteEnded();
      stream.listener?.onBlock(block, isEnd);
    }
  }

  #openedByPeer(streamId: number, block: DecodedBlock, isEnd: boolean): void {
    this.#streams.begunByPeer(streamId);
    if (this.refusesMore || this.#streams.size >= http2Limits.streamsMax) {
      this.spend();
      this.#streams.refused(streamId);
      this.#core.sending.output.resetStream(streamId, errorCode.refusedStream);
      return;
    }
    const stream = this.#core.newStream(streamId);
    if (isEnd) stream.remoteEnded();
    this.#core.user.opened(stream, block, isEnd);
  }

  #priority(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw protocolFault('PRIORITY on stream 0');
    if (end - start !== 5) throw frameSizeFault('PRIORITY has not five bytes');
    if ((bytes.readUInt32BE(start) & 0x7fff_ffff) === streamId) throw protocolFault('a stream depends on itself');
    this.spend();
  }

  #resetByPeer(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw frameSizeFault('RST_STREAM has not four bytes');
    this.#streams.mustBeKnown(streamId, 'RST_STREAM');
    const stream = this.#streams.get(streamId);
    this.spend();
    if (stream === undefined) return;
    const { listener } = stream;
    stream.close(false);
    listener?.onReset(bytes.readUInt32BE(start));
  }

  #settings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolFault('SETTINGS on a stream');
    if ((flags & flag.ack) !== 0) {
      if (start !== end) throw frameSizeFault('an acknowledgement of SETTINGS has a payload');
      return;
    }
    if (this.isSettled) this.spend();
    const before = this.#core.peer.streamWindow;
    this.#core.peer.read(bytes, start, end);
    this.isSettled = true;
    if (this.#core.peer.headerTableBytes !== undefined)
      this.#core.sending.encoder.allowTableBytes(this.#core.peer.headerTableBytes);
    this.#core.sending.output.settingsAck();
    this.#shiftWindows(this.#core.peer.streamWindow - before);
    this.#core.user.settled(this.#core.peer);
  }

  #shiftWindows(difference: number): void {
    if (difference === 0) return;
    for (const stream of this.#streams.all()) {
      if (!stream.shiftSendWindow(difference)) throw flowFault('the window of a stream is too large');
    }
    if (difference > 0) this.#core.sending.serveBlocked();
  }

  #ping(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolFault('PING on a stream');
    if (end - start !== 8) throw frameSizeFault('PING has not eight bytes');
    if ((flags & flag.ack) !== 0) return;
    this.spend();
    this.#core.sending.output.ping(bytes.subarray(start, end), true);
  }

  #goaway(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolFault('GOAWAY on a stream');
    if (end - start < 8) throw frameSizeFault('GOAWAY is too short');
    this.spend();
    const lastStreamId = bytes.readUInt32BE(start) & 0x7fff_ffff;
    this.#core.user.goingAway(lastStreamId);
    if (this.#core.user.role === 'server') return;
    for (const stream of this.#streams.all()) {
      if (stream.id <= lastStreamId) continue;
      const { listener } = stream;
      stream.close(true);
      listener?.onReset(errorCode.refusedStream);
    }
  }

  #windowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw frameSizeFault('WINDOW_UPDATE has not four bytes');
    const increment = bytes.readUInt32BE(start) & 0x7fff_ffff;
    if (increment < smallUpdateBytes) this.spend();
    if (streamId === 0) {
      if (increment === 0) throw protocolFault('a window grows by nothing');
      return this.#core.sending.grow(increment);
    }
    this.#streams.mustBeKnown(streamId, 'WINDOW_UPDATE');
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    if (increment === 0) this.#core.fail(stream, errorCode.protocolError);
    else if (!stream.shiftSendWindow(increment)) this.#core.fail(stream, errorCode.flowControlError);
    else if (stream.isBlocked) this.#core.sending.serveBlocked();
  }
}

function flowFault(message: string): ConnectionFault {
  return new ConnectionFault(errorCode.flowControlError, message);
}
