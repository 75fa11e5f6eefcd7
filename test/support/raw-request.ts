import type { Duplex } from 'node:stream';
import { HpackDecoder } from '#wire/http2/hpack-decoder.ts';
import { block, type Frame, frame, framesOf, preface, settings } from '../wire/support/http2-frames.ts';

/** A request as bytes: nothing on the way to the wire looks at what it says. Text is Latin-1. */
export interface RawRequest {
  readonly method?: string;
  readonly path: string;
  readonly authority: string;
  readonly fields?: readonly (readonly [name: string, value: string])[];
  readonly body?: string;
  /** Follows the body, which comes in one chunk then. */
  readonly trailer?: readonly [name: string, value: string];
}

export interface RawAnswer {
  /** Undefined where the connection or its stream ended without a word. */
  readonly status: number | undefined;
  readonly field: (name: string) => string | undefined;
  readonly body: string;
}

/** Sends one request over an open connection, and takes it down with the answer. */
export async function sendRaw(socket: Duplex, protocol: 'http/1.1' | 'h2', request: RawRequest): Promise<RawAnswer> {
  socket.on('error', () => {});
  try {
    return await (protocol === 'h2' ? overHttp2(socket, http2Bytes(request)) : overHttp1(socket, http1Bytes(request)));
  } finally {
    socket.destroy();
  }
}

function http1Bytes({ method = 'GET', path, authority, fields = [], body, trailer }: RawRequest): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${authority}`, 'Connection: close'];
  for (const [name, value] of fields) lines.push(`${name}: ${value}`);
  if (trailer !== undefined) lines.push('Transfer-Encoding: chunked');
  else if (body !== undefined) lines.push(`Content-Length: ${body.length}`);
  const content =
    trailer === undefined || body === undefined
      ? (body ?? '')
      : `${body.length.toString(16)}\r\n${body}\r\n0\r\n${trailer.join(': ')}\r\n\r\n`;
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${content}`, 'latin1');
}

function http2Bytes({ method = 'GET', path, authority, fields = [], body, trailer }: RawRequest): Buffer {
  const head = block(
    [':method', method],
    [':scheme', 'https'],
    [':authority', authority],
    [':path', path],
    ...fields.map(([name, value]) => [name.toLowerCase(), value] as const),
  );
  if (body === undefined) return http2Frames(frame('HEADERS', 5, 1, head));
  const end = trailer === undefined ? [] : [frame('HEADERS', 5, 1, block([trailer[0].toLowerCase(), trailer[1]]))];
  return http2Frames(frame('HEADERS', 4, 1, head), frame('DATA', trailer === undefined ? 1 : 0, 1, body), ...end);
}

/** After the client's preface. */
export function http2Frames(...frames: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(preface), settings(), ...frames]);
}

/** To the end of the connection, which is where the one answer ends. */
async function overHttp1(socket: Duplex, bytes: Buffer): Promise<RawAnswer> {
  const answer = await exchanged(socket, bytes, () => false);
  const [head = '', ...rest] = answer.toString('latin1').split('\r\n\r\n');
  const [line = '', ...lines] = head.split('\r\n');
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1];
  const fields = lines.map((one) => [one.slice(0, one.indexOf(':')), one.slice(one.indexOf(':') + 1).trim()] as const);
  return answerOf(status, fields, rest.join('\r\n\r\n'));
}

/** To the end of the first stream, or of the connection. */
export async function overHttp2(socket: Duplex, bytes: Buffer): Promise<RawAnswer> {
  const frames = framesOf(await exchanged(socket, bytes, (all) => framesOf(all).some(endsFirstStream)));
  const decoder = new HpackDecoder(4096);
  const limits = { listBytesMax: 64 * 1024, fieldsMax: 100 };
  const heads = frames.filter(({ type, stream }) => type === 'HEADERS' && stream === 1);
  const fields = heads.flatMap(({ payload }) =>
    decoder.decode(payload, 0, payload.length, limits).fields.map(({ name, value }) => [name, value] as const),
  );
  const data = frames.filter(({ type, stream }) => type === 'DATA' && stream === 1).map(({ payload }) => payload);
  return answerOf(fields.find(([name]) => name === ':status')?.[1], fields, Buffer.concat(data).toString('latin1'));
}

function endsFirstStream({ type, flags, stream }: Frame): boolean {
  if (type === 'GOAWAY') return true;
  return stream === 1 && (type === 'RST_STREAM' || ((type === 'HEADERS' || type === 'DATA') && (flags & 1) !== 0));
}

function answerOf(
  status: string | undefined,
  fields: readonly (readonly [name: string, value: string])[],
  body: string,
): RawAnswer {
  const field = (wanted: string) => fields.find(([name]) => name.toLowerCase() === wanted)?.[1];
  return { status: status === undefined ? undefined : Number(status), field, body };
}

/** Everything that comes back until `isEnough`, or until nothing more does. */
export function exchanged(socket: Duplex, bytes: Buffer, isEnough: (all: Buffer) => boolean): Promise<Buffer> {
  return new Promise((resolve) => {
    let all: Buffer = Buffer.alloc(0);
    const finish = () => resolve(all);
    socket.on('data', (piece: Buffer) => {
      all = Buffer.concat([all, piece]);
      if (isEnough(all)) finish();
    });
    socket.once('end', finish).once('close', finish);
    socket.write(bytes);
  });
}
