import http2 from 'node:http2';
import { type Duplex, duplexPair } from 'node:stream';
import { errorCodeName } from '#wire/http2/protocol.ts';
import { respond } from '#wire/respond.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { WireError } from '#wire/wire-error.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ClientRecorder, outgoing } from '../wire/support/client-recorder.ts';
import { http2MemoryServer } from '../wire/support/http2-frames.ts';
import { lendingPair } from '../wire/support/lending-pair.ts';
import { turn } from '../wire/support/memory-proxy.ts';
import type { Field, Message, StreamReading } from './same-meaning.ts';

async function settle(): Promise<void> {
  for (let i = 0; i < 8; i++) await turn();
}

async function feed(socket: Duplex, reads: readonly Buffer[]): Promise<void> {
  socket.on('error', () => {}).resume();
  for (const read of reads) {
    if (socket.destroyed || socket.writableEnded) break;
    socket.write(read);
    for (let i = 0; i < 3; i++) await turn();
  }
  await settle();
}

export async function ourServer(reads: readonly Buffer[]): Promise<StreamReading> {
  const complete: Message[] = [];
  const refused: string[] = [];
  using server = http2MemoryServer(
    (exchange) => {
      const { method, target, authority } = exchange.request;
      const fields = [...exchange.request.entries()];
      let body = '';
      exchange.listen({
        onRequestData: (bytes) => {
          body += bytes.toString('latin1');
          return true;
        },
        onRequestEnd: (lines) => {
          const line = `${method} ${target} ${authority}`;
          complete.push({ line, fields, body, trailers: fieldsOf(lines) });
          // By the answer one sees whose request it was.
          respond(exchange, { status: 200, body: `answer ${complete.length - 1}` });
        },
        onWritable() {},
        onAborted: (error) => void refused.push(ruleOf(error)),
      });
      exchange.readBody();
    },
    { onRefused: (error) => void refused.push(ruleOf(error)) },
  );
  await feed(server.client, reads);
  const messages = new Map<number, Message>();
  for (const { type, stream, payload } of server.frames) {
    const [, index] = type === 'DATA' ? (/^answer (\d+)$/.exec(payload.toString('latin1')) ?? []) : [];
    if (index !== undefined) messages.set(stream, complete[Number(index)]!);
    if (type === 'RST_STREAM') refused.push(errorCodeName(payload.readUInt32BE(0)));
    if (type === 'GOAWAY') refused.push(`connection: ${errorCodeName(payload.readUInt32BE(4))}`);
  }
  if (server.handlerErrors.length > 0) throw server.handlerErrors[0];
  return { messages, refused };
}

export async function nodeServer(reads: readonly Buffer[]): Promise<StreamReading> {
  const [client, far] = duplexPair();
  const session = http2.performServerHandshake(far);
  const messages = new Map<number, Message>();
  const refused: string[] = [];
  session.on('error', (error) => refused.push(`connection: ${codeOf(error)}`));
  session.on('stream', (stream, head, _, raw) => {
    // We speak of hosts in lower case (RFC 9110 4.2.3).
    const line = `${head[':method']} ${head[':path']} ${head[':authority']?.toLowerCase()}`;
    collect(stream, line, raw, (message) => {
      messages.set(stream.id!, message);
      if (!stream.destroyed) {
        stream.respond({ ':status': 200 });
        stream.end('ok');
      }
    });
    stream.on('error', (error) => refused.push(codeOf(error)));
  });
  await feed(client, reads);
  // What is destroyed ends too, which is no end of a message.
  const reading = { messages: new Map(messages), refused: [...refused] };
  session.destroy();
  far.destroy();
  client.destroy();
  return reading;
}

function collect(
  stream: http2.Http2Stream,
  line: string,
  raw: readonly string[] | undefined,
  whole: (message: Message) => void,
): void {
  const pieces: Buffer[] = [];
  let trailers: Field[] = [];
  stream.on('data', (bytes: Buffer) => pieces.push(bytes));
  stream.on('trailers', (...args: unknown[]) => {
    trailers = inPairs(args[2] as string[]);
  });
  stream.on('end', () => {
    if (stream.aborted || stream.rstCode) return;
    const body = Buffer.concat(pieces).toString('latin1');
    whole({ line, fields: inPairs(raw ?? []), body, trailers });
  });
}

/** `1` is the response; its interim ones are left out. */
export async function ourClient(reads: readonly Buffer[]): Promise<StreamReading> {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const [far, near] = lendingPair();
  const recorder = new ClientRecorder();
  const connections = [near];
  const connect = async () => connections.pop() ?? Promise.reject(new Error('there is no second connection'));
  pool.request({ key: 'memory', protocol: 'h2', connect }, outgoing('GET'), recorder);
  await settle();
  await feed(far, reads);
  far.end();
  await settle();
  far.destroy();
  await settle();
  const { head, body, trailers, error } = await recorder.done;
  if (error !== undefined) return { messages: new Map(), refused: [ruleOf(error)] };
  // Node leaves the length of a 204 out, as we do when we pass it on (RFC 9110 8.6).
  const fields = [...head!.entries()].filter(([name]) => head!.status !== 204 || name !== 'content-length');
  const message = { line: String(head!.status), fields, body, trailers: fieldsOf(trailers) };
  return { messages: new Map([[1, message]]), refused: [] };
}

export async function nodeClient(reads: readonly Buffer[]): Promise<StreamReading> {
  const [far, near] = duplexPair();
  const session = http2.connect('http://a', { createConnection: () => near });
  const messages = new Map<number, Message>();
  const refused: string[] = [];
  session.on('error', (error) => refused.push(`connection: ${codeOf(error)}`));
  const stream = session.request({ ':path': '/' });
  stream.on('error', (error) => refused.push(codeOf(error)));
  stream.on('response', (...args: unknown[]) => {
    const [head, , raw] = args as [http2.IncomingHttpHeaders, number, string[]];
    collect(stream, String(head[':status']), raw, (message) => messages.set(1, message));
  });
  await settle();
  await feed(far, reads);
  const reading = { messages: new Map(messages), refused: [...refused] };
  session.destroy();
  far.destroy();
  near.destroy();
  await settle();
  return reading;
}

/** @throws what is not typed: a bug */
function ruleOf(error: unknown): string {
  if (!(error instanceof WireError)) throw error;
  return error.rule ?? error.code;
}

function codeOf(error: NodeJS.ErrnoException): string {
  return `${error.code}: ${error.message}`;
}

/** Without pseudo-header fields, which the line has. */
function inPairs(raw: readonly string[]): Field[] {
  const all = Array.from({ length: raw.length / 2 }, (_, i): Field => [raw[2 * i]!, raw[2 * i + 1]!]);
  return all.filter(([name]) => !name.startsWith(':'));
}

function fieldsOf(lines: string): Field[] {
  return lines
    .split('\r\n')
    .slice(0, -1)
    .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]);
}
