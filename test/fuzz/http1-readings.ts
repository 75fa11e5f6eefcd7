import http from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import type { ServerExchange } from '#wire/exchange.ts';
import { respond } from '#wire/respond.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { WireError } from '#wire/wire-error.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ClientRecorder, outgoing } from '../wire/support/client-recorder.ts';
import { lendingPair } from '../wire/support/lending-pair.ts';
import { turn } from '../wire/support/memory-proxy.ts';
import { memoryServer } from '../wire/support/memory-server.ts';
import type { Field, Message, Reading } from './same-meaning.ts';

/** Turns of the loop until all that is in memory has been read and answered. */
async function settle(): Promise<void> {
  for (let i = 0; i < 8; i++) await turn();
}

async function feed(client: Duplex, reads: readonly Buffer[]): Promise<void> {
  client.on('error', () => {}).resume();
  for (const read of reads) {
    if (client.destroyed || client.writableEnded) break;
    client.write(read);
    await turn();
  }
  await settle();
  client.end();
  await settle();
}

export async function ourRequests(reads: readonly Buffer[]): Promise<Reading> {
  const messages: Message[] = [];
  const aborted: string[] = [];
  using server = memoryServer((exchange) => {
    const { method, target } = exchange.request;
    const fields = [...exchange.request.entries()];
    let body = '';
    const complete = (trailers: string) => {
      messages.push({ line: `${method} ${target}`, fields, body, trailers: fieldsOf(trailers) });
      answerOurs(exchange);
    };
    exchange.listen({
      onRequestData: (bytes) => {
        body += bytes.toString('latin1');
        return true;
      },
      onRequestEnd: complete,
      onWritable() {},
      onAborted: (error) => void aborted.push(ruleOf(error)),
    });
    exchange.readBody();
  });
  await feed(server.client, reads);
  if (server.handlerErrors.length > 0) throw server.handlerErrors[0];
  return { messages, refused: server.refused[0] ?? aborted[0] };
}

function answerOurs(exchange: ServerExchange<string>): void {
  if (exchange.request.method === 'CONNECT') exchange.acceptTunnel().destroy();
  else respond(exchange, { status: 200, body: 'ok' });
}

export async function nodeRequests(reads: readonly Buffer[]): Promise<Reading> {
  const messages: Message[] = [];
  let refused: string | undefined;
  const server = http.createServer({ keepAliveTimeout: 0 }, (incoming, response) => {
    const pieces: Buffer[] = [];
    incoming.on('error', () => {});
    incoming.on('data', (bytes: Buffer) => pieces.push(bytes));
    incoming.on('end', () => {
      messages.push(messageOf(incoming, pieces));
      response.end('ok');
    });
  });
  server.on('connect', (incoming, socket) => {
    messages.push(messageOf(incoming, []));
    socket.destroy();
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    refused ??= error.code;
    // What came whole in the same read is still on its way to its reader.
    setImmediate(() => socket.destroy());
  });
  const [client, far] = duplexPair();
  server.emit('connection', far);
  await feed(client, reads);
  far.destroy();
  client.destroy();
  return { messages, refused };
}

function messageOf(incoming: http.IncomingMessage, pieces: readonly Buffer[]): Message {
  const { method, url, statusCode, statusMessage, rawHeaders, rawTrailers } = incoming;
  return {
    line: method == null ? `${statusCode} ${statusMessage}` : `${method} ${url}`,
    fields: inPairs(rawHeaders),
    body: Buffer.concat(pieces).toString('latin1'),
    trailers: inPairs(rawTrailers),
  };
}

export async function ourResponse(method: string, reads: readonly Buffer[]): Promise<Reading> {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const [far, near] = lendingPair();
  const interim: Message[] = [];
  const recorder = new (class extends ClientRecorder {
    override onInformed(head: Parameters<ClientRecorder['onInformed']>[0]): void {
      interim.push({ line: `${head.status} ${head.reason}`, fields: [...head.entries()], body: '', trailers: [] });
    }
  })();
  pool.request({ key: 'memory', connect: async () => near }, outgoing(method), recorder);
  await settle();
  await feed(far, reads);
  far.destroy();
  await settle();
  const { head, body, trailers, error } = await recorder.done;
  if (error !== undefined) return { messages: interim, refused: ruleOf(error) };
  const line = `${head!.status} ${head!.reason}`;
  const final = { line, fields: [...head!.entries()], body, trailers: fieldsOf(trailers) };
  return { messages: [...interim, final], refused: undefined };
}

export async function nodeResponse(method: string, reads: readonly Buffer[]): Promise<Reading> {
  const messages: Message[] = [];
  let refused: string | undefined;
  const [far, near] = duplexPair();
  const asking = http.request({ method, host: 'a', createConnection: () => near as never });
  asking.on('error', (error: NodeJS.ErrnoException) => {
    refused ??= error.code;
  });
  asking.on('information', ({ statusCode, statusMessage, rawHeaders }) => {
    messages.push({ line: `${statusCode} ${statusMessage}`, fields: inPairs(rawHeaders), body: '', trailers: [] });
  });
  asking.on('upgrade', (_, socket) => {
    refused ??= 'upgrade';
    socket.destroy();
  });
  asking.on('response', (incoming) => {
    const pieces: Buffer[] = [];
    incoming.on('error', (error: NodeJS.ErrnoException) => {
      refused ??= error.code;
    });
    incoming.on('data', (bytes: Buffer) => pieces.push(bytes));
    incoming.on('end', () => void (incoming.complete && messages.push(messageOf(incoming, pieces))));
  });
  asking.end();
  await settle();
  await feed(far, reads);
  far.destroy();
  near.destroy();
  await settle();
  return { messages, refused };
}

/** @throws what is not typed: a bug */
function ruleOf(error: unknown): string {
  if (!(error instanceof WireError)) throw error;
  return error.rule ?? error.code;
}

function inPairs(raw: readonly string[]): Field[] {
  return Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i]!, raw[2 * i + 1]!.replace(/[ \t]+$/, '')]);
}

function fieldsOf(lines: string): Field[] {
  return lines
    .split('\r\n')
    .slice(0, -1)
    .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]);
}
