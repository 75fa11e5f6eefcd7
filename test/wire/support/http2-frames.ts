import type { Duplex } from 'node:stream';
import type { ExchangeHandler } from '#wire/exchange.ts';
import { type ServeOptions, serveConnection } from '#wire/server-connection.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { lendingPair } from './lending-pair.ts';
import { turn } from './memory-proxy.ts';

export const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
export const types = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
  'WINDOW_UPDATE',
  'CONTINUATION',
];

export interface Frame {
  readonly type: string;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A frame as bytes, by hand: nothing of the engine under test is in it. */
export function frame(type: string, flags: number, stream: number, payload: Buffer | string = ''): Buffer {
  const bytes = Buffer.from(payload);
  const header = Buffer.alloc(9);
  header.writeUIntBE(bytes.length, 0, 3);
  header[3] = types.indexOf(type);
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, bytes]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function settings(...entries: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = entries.map(([id, value]) => Buffer.concat([uint32(id).subarray(2), uint32(value)]));
  return frame('SETTINGS', 0, 0, Buffer.concat(payload));
}

/** Fields as literals that no table remembers. */
export function block(...fields: readonly (readonly [name: string, value: string])[]): Buffer {
  const text = (value: string) => Buffer.concat([lengthOf(value), Buffer.from(value, 'latin1')]);
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

function lengthOf(value: string): Buffer {
  if (value.length < 127) return Buffer.from([value.length]);
  const bytes = [127];
  let rest = value.length - 127;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

export const getHead = block([':method', 'GET'], [':scheme', 'http'], [':path', '/'], [':authority', 'a']);
export const postHead = block([':method', 'POST'], [':scheme', 'http'], [':path', '/'], [':authority', 'a']);

/** Whole frames out of `bytes`. */
export function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    if (at + 9 + length > bytes.length) break;
    frames.push({
      type: types[bytes[at + 3]!]!,
      flags: bytes[at + 4]!,
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return frames;
}

export interface Http2MemoryServer extends Disposable {
  readonly clock: FakeClock;
  readonly client: Duplex;
  readonly isClosed: boolean;
  readonly frames: readonly Frame[];
  readonly handlerErrors: readonly unknown[];
  drain(): void;
  /** Writes, and lets everything in memory come to rest. */
  send(...parts: readonly (Buffer | string)[]): Promise<void>;
  settle(): Promise<void>;
  /** Codes of RST_STREAM for a stream, of GOAWAY for 0. */
  errors(stream: number): readonly number[];
}

/** One HTTP/2 connection served in memory on a clock that stands still; the client's frames are made by hand. */
export function http2MemoryServer(
  handler: ExchangeHandler<string>,
  options: Partial<ServeOptions<string>> = {},
): Http2MemoryServer {
  const clock = new FakeClock();
  const [client, server] = lendingPair();
  let received: Buffer = Buffer.alloc(0);
  const handlerErrors: unknown[] = [];
  client.on('data', (bytes: Buffer) => {
    received = Buffer.concat([received, bytes]);
  });
  client.on('error', () => {});
  const connection = serveConnection(server, 'the peer', handler, {
    clock,
    protocol: 'h2',
    onHandlerError: (error) => handlerErrors.push(error),
    ...options,
  });
  const settle = async () => {
    for (let i = 0; i < 12; i++) await turn();
  };
  return {
    clock,
    client,
    get isClosed() {
      return connection.isClosed;
    },
    get frames() {
      return framesOf(received);
    },
    handlerErrors,
    drain: () => connection.drain(),
    async send(...parts) {
      for (const part of parts) client.write(part);
      await settle();
    },
    settle,
    errors(stream) {
      const [type, at] = stream === 0 ? ['GOAWAY', 4] : ['RST_STREAM', 0];
      return framesOf(received)
        .filter((one) => one.type === type && one.stream === stream)
        .map(({ payload }) => payload.readUInt32BE(at as number));
    },
    [Symbol.dispose]() {
      connection.destroy();
      client.destroy();
    },
  };
}
