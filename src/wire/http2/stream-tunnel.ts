import { Duplex } from 'node:stream';
import { errorCode } from './protocol.ts';
import type { Http2Stream, StreamListener } from './stream.ts';

/** A stream as the socket that CONNECT asked for (RFC 9113 8.5): DATA both ways, each side closed by its own END_STREAM. */
export class StreamTunnel extends Duplex implements StreamListener {
  readonly #stream: Http2Stream;
  #onRoom: (() => void) | undefined;

  /** `held`: what came before; `hasEnded`: and nothing comes after it. */
  constructor(stream: Http2Stream, held: readonly Buffer[], hasEnded: boolean) {
    super({ allowHalfOpen: true });
    this.#stream = stream;
    stream.listener = this;
    for (const bytes of held) this.push(bytes);
    if (hasEnded) this.push(null);
  }

  onData(bytes: Buffer): boolean {
    return this.push(Buffer.from(bytes));
  }

  onRemoteEnd(): void {
    this.push(null);
  }

  /** A tunnel has no trailers: nothing could take them over. */
  onBlock(): void {
    this.destroy(new Error('the peer sent a head inside a tunnel'));
  }

  onReset(code: number | undefined): void {
    this.destroy(code === errorCode.noError ? undefined : new Error('the peer reset the tunnel'));
  }

  onWritable(): void {
    const onRoom = this.#onRoom;
    this.#onRoom = undefined;
    onRoom?.();
  }

  onExpired(): void {}

  override _read(): void {
    this.#stream.resume();
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    if (this.#stream.write(bytes)) done();
    else this.#onRoom = done;
  }

  override _final(done: () => void): void {
    this.#stream.end('');
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#onRoom = undefined;
    if (!this.#stream.isClosed) this.#stream.reset(error === null ? errorCode.cancel : errorCode.connectError);
    done(error);
  }
}
