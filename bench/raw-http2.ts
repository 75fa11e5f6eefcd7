import type { Socket } from 'node:net';

/*
 * As much of HTTP/2 (RFC 9113) as a load generator and a backend need, as cheaply as Node can: neither library nor engine, so that what is measured
 * between them is not what they are made of. Heads are written once and then sent by index (RFC 7541 6.1), as clients of gRPC do; heads that
 * come in are never decoded: what has come is told by the bytes of DATA and by END_STREAM.
 */
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const frameTypes = { data: 0, headers: 1, resetStream: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 };
export const flags = { endStream: 1, ack: 1, endHeaders: 4 };
/** Of a message of gRPC, either way, without its own five. */
export const messageBytes = 64;
export const frameHeadBytes = 9;
const sendWindowBytes = 65_535;
/** Of streams and connection: nothing here ever waits for us. */
const receiveWindowBytes = 2 ** 30;
const headerTableSize = 1;
const initialWindowSize = 4;
/** Of static and dynamic table: the first entry that is ours. */
const dynamicIndexFirst = 62;

export function frame(type: number, flag: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(frameHeadBytes + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flag;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, frameHeadBytes);
  return bytes;
}

/** A message of gRPC: not compressed, length, bytes. */
export function grpcMessage(payload: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(payload.length, 1);
  return Buffer.concat([head, payload]);
}

/**
 * A head in both of its forms: `first` adds its fields to the peer's dynamic table, `again` names them there. `before` is how many were
 * added before these, `total` how many will have been added when all heads of this connection were sent once. `plain` is for a peer without a table.
 */
export function headBlocks(
  fields: readonly (readonly [string, string])[],
  { before = 0, total = fields.length }: { readonly before?: number; readonly total?: number } = {},
): Readonly<Record<'first' | 'again' | 'plain', Buffer>> {
  const literal = (kind: number) =>
    Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([kind]), text(name), text(value)]));
  const indices = fields.map((_, at) => 0x80 | (dynamicIndexFirst + total - 1 - (before + at)));
  return { first: literal(0x40), again: Buffer.from(indices), plain: literal(0) };
}

/** Length in seven bits and their continuation (RFC 7541 5.1), then the bytes, without Huffman coding. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}

export interface FrameHandler {
  /** Of DATA, HEADERS and RST_STREAM; `payload` is valid during the call only. */
  onFrame(type: number, flag: number, stream: number, payload: Buffer): void;
}

/** One connection: reads frames, answers SETTINGS and PING, keeps the peer's window, and writes once for each read. */
export class RawConnection {
  readonly #socket: Socket;
  readonly #handler: FrameHandler;
  #held: Buffer = Buffer.alloc(0);
  #prefaceLeft: number;
  #out: Buffer = Buffer.allocUnsafe(1 << 12);
  #outBytes = 0;
  #sendWindow = sendWindowBytes;
  #receivedBytes = 0;
  #isReading = false;
  /** The peer keeps a dynamic table (SETTINGS_HEADER_TABLE_SIZE): nginx does not, towards what it calls. */
  hasTable = true;
  /** What waits for the peer's window: frames, and how many bytes of DATA are in them. */
  readonly #waiting: [Buffer, number][] = [];

  constructor(socket: Socket, side: 'client' | 'server', handler: FrameHandler) {
    this.#socket = socket;
    this.#handler = handler;
    this.#prefaceLeft = side === 'server' ? preface.length : 0;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(initialWindowSize, 0);
    settings.writeUInt32BE(receiveWindowBytes, 2);
    if (side === 'client') this.#push(preface);
    this.#push(frame(frameTypes.settings, 0, 0, settings));
    this.#grant(receiveWindowBytes);
    this.#flush();
  }

  /** Copies `frames`, of which `dataBytes` are DATA; they go out with what else this read brings about. */
  send(frames: Buffer, dataBytes: number): void {
    if (this.#waiting.length > 0 || dataBytes > this.#sendWindow) {
      this.#waiting.push([Buffer.from(frames), dataBytes]);
      return;
    }
    this.#sendWindow -= dataBytes;
    this.#push(frames);
    if (!this.#isReading) this.#flush();
  }

  #read(chunk: Buffer): void {
    let bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const skipped = Math.min(this.#prefaceLeft, bytes.length);
    this.#prefaceLeft -= skipped;
    bytes = bytes.subarray(skipped);
    let at = 0;
    this.#isReading = true;
    while (bytes.length - at >= frameHeadBytes) {
      const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
      if (bytes.length - at < frameHeadBytes + length) break;
      const end = at + frameHeadBytes + length;
      const stream = bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
      this.#take(bytes[at + 3]!, bytes[at + 4]!, stream, bytes.subarray(at + frameHeadBytes, end));
      at = end;
    }
    this.#isReading = false;
    this.#held = bytes.subarray(at);
    this.#flush();
  }

  #take(type: number, flag: number, stream: number, payload: Buffer): void {
    switch (type) {
      case frameTypes.settings:
        if ((flag & flags.ack) !== 0) return;
        for (let at = 0; at < payload.length; at += 6) {
          if (payload.readUInt16BE(at) === headerTableSize) this.hasTable = payload.readUInt32BE(at + 2) > 0;
        }
        this.#push(frame(frameTypes.settings, flags.ack, 0));
        return;
      case frameTypes.ping:
        if ((flag & flags.ack) === 0) this.#push(frame(frameTypes.ping, flags.ack, 0, payload));
        return;
      case frameTypes.windowUpdate:
        if (stream === 0) this.#opened(payload.readUInt32BE(0));
        return;
      case frameTypes.goAway:
        this.#socket.destroy();
        return;
      case frameTypes.data:
        this.#receivedBytes += payload.length;
        if (this.#receivedBytes > receiveWindowBytes / 2) this.#grant(this.#receivedBytes);
    }
    this.#handler.onFrame(type, flag, stream, payload);
  }

  #grant(bytes: number): void {
    this.#receivedBytes = 0;
    const increment = Buffer.alloc(4);
    increment.writeUInt32BE(bytes, 0);
    this.#push(frame(frameTypes.windowUpdate, 0, 0, increment));
  }

  #opened(bytes: number): void {
    this.#sendWindow += bytes;
    while (this.#waiting.length > 0 && this.#waiting[0]![1] <= this.#sendWindow) {
      const [frames, dataBytes] = this.#waiting.shift()!;
      this.#sendWindow -= dataBytes;
      this.#push(frames);
    }
  }

  #push(frames: Buffer): void {
    if (this.#outBytes + frames.length > this.#out.length) {
      const larger = Buffer.allocUnsafe(2 * (this.#outBytes + frames.length));
      this.#out.copy(larger, 0, 0, this.#outBytes);
      this.#out = larger;
    }
    frames.copy(this.#out, this.#outBytes);
    this.#outBytes += frames.length;
  }

  #flush(): void {
    if (this.#outBytes === 0) return;
    this.#socket.write(Buffer.from(this.#out.subarray(0, this.#outBytes)));
    this.#outBytes = 0;
  }
}
