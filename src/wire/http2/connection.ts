import type { Duplex } from 'node:stream';
import { onBytes } from '#net/shared-reads.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { HttpLimits } from '../limits.ts';
import { WireError } from '../wire-error.ts';
import type { DecodedBlock } from './decoded-block.ts';
import { FrameDispatch } from './frame-dispatch.ts';
import { FrameReader } from './frame-reader.ts';
import { protocolFault } from './header-assembly.ts';
import { http2Limits } from './http2-limits.ts';
import { Liveness } from './liveness.ts';
import { PeerSettings } from './peer-settings.ts';
import { ConnectionFault, clientPreface, errorCode, errorCodeName, setting } from './protocol.ts';
import { ReceiveWindow } from './receive-window.ts';
import { SendSide } from './send-side.ts';
import { Http2Stream, type StreamHost } from './stream.ts';
import { StreamDeadlines } from './stream-deadlines.ts';
import { StreamTable } from './stream-table.ts';

export interface Http2ConnectionOptions {
  readonly clock: Clock;
  readonly http: HttpLimits;
  readonly headMs: number;
  /** Without a stream; Infinity when its user decides that. */
  readonly idleMs: number;
  readonly writeStallMs: number;
}

/** The server or the client that a connection belongs to. */
export interface ConnectionUser {
  readonly role: 'server' | 'client';
  /** The peer opened a stream with this head. Servers only. */
  opened(stream: Http2Stream, block: DecodedBlock, isEnd: boolean): void;
  /** The peer's SETTINGS came, for the first time or again. */
  settled(settings: PeerSettings): void;
  /** The peer takes no more streams. Those of a client above `lastStreamId` were not looked at: they hear REFUSED_STREAM next. */
  goingAway(lastStreamId: number): void;
  /** A stream closed. */
  released(): void;
  becameIdle(): void;
  /** The connection is gone; its streams have been told. */
  gone(error: WireError): void;
}

/** For the peer to close its side after ours has ended. */
const lingerMs = 2_000;
const pingPayload = Buffer.from('cellmesh', 'latin1');

/** One HTTP/2 connection, either side of it: frames, streams and windows (RFC 9113). What a request is, its user knows. */
export class Http2Connection implements StreamHost {
  readonly options: Http2ConnectionOptions;
  readonly user: ConnectionUser;
  readonly peer = new PeerSettings();
  readonly streams: StreamTable;
  readonly sending: SendSide;
  readonly receiving: ReceiveWindow;
  /** Nothing more is read. */
  isStopped = false;
  readonly #socket: Duplex;
  readonly #dispatch: FrameDispatch;
  readonly #reader: FrameReader;
  readonly #liveness: Liveness;
  readonly #deadlines: StreamDeadlines;
  #prefaceLeft: number;
  #isEnding = false;
  #linger: Scheduled | undefined;
  /** Clock.monotonic() when the bytes came that are being read; undefined between reads. */
  #readAt: number | undefined;

  constructor(socket: Duplex, user: ConnectionUser, options: Http2ConnectionOptions) {
    const { clock, headMs, idleMs, writeStallMs } = options;
    this.#socket = socket;
    this.user = user;
    this.options = options;
    this.streams = new StreamTable(user.role);
    this.sending = new SendSide(socket, this, { clock, headerTableBytes: http2Limits.headerTableBytes, writeStallMs });
    this.receiving = new ReceiveWindow(
      http2Limits.connectionWindowBytes,
      http2Limits.streamWindowBytes,
      this.sending.output,
    );
    this.#dispatch = new FrameDispatch(this);
    this.#reader = new FrameReader(this.#dispatch);
    this.#prefaceLeft = user.role === 'server' ? clientPreface.length : 0;
    this.#liveness = new Liveness(
      { clock, headMs, idleMs, pingAfterMs: http2Limits.pingAfterMs, pingMs: http2Limits.pingMs },
      this,
    );
    this.#deadlines = new StreamDeadlines(clock, writeStallMs, this.streams, {
      expired: (stream) => stream.listener?.onExpired(),
      stalled: (stream) => this.fail(stream, errorCode.cancel),
    });
    this.#begin();
    onBytes(socket, this.#onData);
    socket.on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onClose);
    if (socket.destroyed) process.nextTick(this.#onClose);
    else socket.resume();
  }

  get openStreams(): number {
    return this.streams.size;
  }

  get isBusy(): boolean {
    return this.streams.size > 1;
  }

  get isIncomplete(): boolean {
    return !this.#dispatch.isSettled || this.#dispatch.isInBlock || this.#reader.isInFrame;
  }

  /** Clock.monotonic(), asked once for all that a read brings. */
  now(): number {
    return this.#readAt ?? this.options.clock.monotonic();
  }

  /** A client's next stream; undefined when the ids are used up. */
  open(): Http2Stream | undefined {
    const id = this.streams.nextOwnId();
    return id === undefined ? undefined : this.newStream(id);
  }

  /** From now on new streams are refused, and the peer is told which was the last. */
  refuseMore(): void {
    this.#dispatch.refusesMore = true;
    this.announceEnd(this.streams.lastPeerId);
  }

  /** Says that streams above `lastStreamId` will not be looked at; the others go on. */
  announceEnd(lastStreamId: number): void {
    if (!this.#isEnding) this.sending.output.goaway(lastStreamId, errorCode.noError, '');
  }

  /** Bytes on their way leave, then our side ends. What comes after is not read; the peer has a moment to close. */
  end(code: number, detail = ''): void {
    if (this.#isEnding || this.isStopped) return;
    this.#isEnding = true;
    this.sending.output.goaway(this.streams.lastPeerId, code, detail);
    this.sending.output.flush();
    this.#linger = this.options.clock.schedule(lingerMs, () => this.#socket.destroy());
  }

  destroy(error: WireError): void {
    if (!this.isStopped) this.#stop(error);
    this.#socket.destroy();
  }

  /** Something has to happen to `stream` within that time. */
  setDeadline(stream: Http2Stream, delayMs: number): void {
    if (delayMs === Number.POSITIVE_INFINITY) stream.deadlineAt = delayMs;
    else this.#deadlines.set(stream, delayMs, this.now());
  }

  /** The peer broke a rule of `stream`, or does not go on with it. */
  fail(stream: Http2Stream, code: number): void {
    const { listener } = stream;
    stream.reset(code);
    listener?.onReset(code);
  }

  /** @throws ConnectionFault when there were too many of what only costs */
  spend(): void {
    this.#dispatch.spend();
  }

  // For streams, output and timers.

  closed(stream: Http2Stream, wasReset: boolean): void {
    this.streams.close(stream, wasReset);
    this.sending.forget(stream);
    this.receiving.release(stream);
    if (this.streams.size === 0) this.#liveness.streamsChanged(this.now());
    this.user.released();
  }

  stalled(stream: Http2Stream): void {
    this.#deadlines.noteStall(stream);
  }

  written(): void {
    if (this.#isEnding && this.sending.output.isIdle) this.#socket.end();
  }

  sendPing(): void {
    this.sending.output.ping(pingPayload, false);
  }

  becameIdle(): void {
    this.user.becameIdle();
  }

  isGone(why: string): void {
    this.destroy(new WireError('upstream_failed', why));
  }

  newStream(id: number): Http2Stream {
    const stream = new Http2Stream(id, this, this.peer.streamWindow, http2Limits.streamWindowBytes);
    this.streams.add(stream);
    if (this.streams.size === 1) this.#liveness.streamsChanged(this.now());
    return stream;
  }

  // The socket.

  #begin(): void {
    const { http } = this.options;
    const isServer = this.user.role === 'server';
    if (!isServer) this.sending.output.raw(clientPreface);
    this.sending.output.settings([
      [setting.headerTableSize, http2Limits.headerTableBytes],
      isServer ? [setting.maxConcurrentStreams, http2Limits.streamsMax] : [setting.enablePush, 0],
      [setting.initialWindowSize, http2Limits.streamWindowBytes],
      [setting.maxHeaderListSize, http.headBytesMax],
      [setting.noRfc7540Priorities, 1],
      ...(isServer ? ([[setting.enableConnectProtocol, 1]] as const) : []),
    ]);
    this.receiving.open();
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.isStopped || this.#isEnding) return;
    const before = this.#dispatch.framesRead;
    const now = this.options.clock.monotonic();
    this.#readAt = now;
    try {
      const bytes = this.#prefaceLeft > 0 ? this.#readPreface(chunk) : chunk;
      if (bytes.length > 0) this.#reader.read(bytes);
    } catch (error) {
      if (!(error instanceof ConnectionFault)) throw error;
      this.#end(error);
    } finally {
      this.#readAt = undefined;
    }
    this.#liveness.read(now, this.#dispatch.framesRead > before);
  };

  /** @returns what follows the preface in `chunk` */
  #readPreface(chunk: Buffer): Buffer {
    const at = clientPreface.length - this.#prefaceLeft;
    const count = Math.min(chunk.length, this.#prefaceLeft);
    if (clientPreface.compare(chunk, 0, count, at, at + count) !== 0) throw protocolFault('this is not HTTP/2');
    this.#prefaceLeft -= count;
    return chunk.subarray(count);
  }

  /** The peer broke a rule of the connection: it is told which, and everything on it ends. */
  #end(fault: ConnectionFault): void {
    this.end(fault.errorCode, fault.message);
    const name = errorCodeName(fault.errorCode);
    this.#stop(new WireError('upstream_malformed', `the peer breaks HTTP/2 (${name}): ${fault.message}`));
  }

  #stop(error: WireError): void {
    if (this.isStopped) return;
    this.isStopped = true;
    for (const stream of this.streams.all()) {
      const { listener } = stream;
      stream.close(true);
      listener?.onReset(undefined);
    }
    // After the last stream: its end sets a timer, which would hold the connection until it fires, a client's for ever.
    this.#liveness.dispose();
    this.#deadlines.dispose();
    this.user.gone(error);
  }

  readonly #onEnd = (): void => {
    this.#stop(new WireError('upstream_failed', 'the peer closed the connection'));
    this.#socket.end();
  };

  /** `close` follows and does the work. */
  readonly #onError = (): void => {};

  readonly #onClose = (): void => {
    this.#stop(new WireError('upstream_failed', 'the connection is gone'));
    this.#linger?.cancel();
    this.sending.dispose();
  };
}
