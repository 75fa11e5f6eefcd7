import http from 'node:http';
import type { Duplex } from 'node:stream';
import { systemClock } from '#runtime/clock.ts';
import { fieldSet } from '#wire/field-names.ts';
import { forward } from '#wire/forward.ts';
import type { RequestHead } from '#wire/message.ts';
import { serveConnection } from '#wire/server-connection.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { lendingPair } from './lending-pair.ts';

export interface SeenRequest {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  readonly body: string;
}

export interface ProxyRun {
  /** What the engine decided on. */
  readonly decided: readonly RequestHead[];
  /** What the backend, another implementation, understood. */
  readonly received: readonly SeenRequest[];
  /** The bytes that reached the backend. */
  readonly sent: string;
  /** The bytes that the client got. */
  readonly answered: string;
  /** Of each response, in order. */
  readonly statuses: readonly number[];
}

const stripped = fieldSet('cellmesh-*', '*_*');

/**
 * Feeds `pieces` to a proxy in memory, each as a read of its own, and closes the client's side when everything has come to
 * rest. The backend is node:http, so two parsers must agree on every request.
 */
export async function throughProxy(pieces: readonly Buffer[]): Promise<ProxyRun> {
  const decided: RequestHead[] = [];
  const received: SeenRequest[] = [];
  const sent: Buffer[] = [];
  const backend = http.createServer({ keepAliveTimeout: 0 }, (incoming, response) => {
    const body: Buffer[] = [];
    incoming.on('data', (bytes: Buffer) => body.push(bytes));
    incoming.on('end', () => {
      const { method = '', url = '', headers } = incoming;
      received.push({ method, target: url, host: headers.host ?? '', body: Buffer.concat(body).toString('latin1') });
      response.end('ok');
    });
  });
  const opened: Duplex[] = [];
  const upstream = {
    key: 'backend',
    async connect(): Promise<Duplex> {
      const [far, near] = lendingPair();
      const push = far.push.bind(far);
      far.push = (bytes: Buffer | null, encoding?: BufferEncoding) => {
        if (bytes !== null) sent.push(Buffer.from(bytes));
        return push(bytes, encoding);
      };
      opened.push(near, far);
      backend.emit('connection', far);
      return near;
    },
  };
  await using pool = new UpstreamPool({ clock: systemClock });
  const [client, server] = lendingPair();
  const answered: Buffer[] = [];
  client.on('data', (bytes: Buffer) => answered.push(bytes));
  client.on('error', () => {});
  const connection = serveConnection(
    server,
    undefined,
    (exchange) => {
      decided.push(exchange.request);
      const target = exchange.request.path || '/';
      if (exchange.request.method === 'CONNECT')
        exchange.respond({ status: 405, fields: '', framing: 'none', contentLength: -1 });
      else forward(exchange, { client: pool, upstream, target, request: { drop: stripped, append: '' } });
      if (exchange.responded) exchange.end();
    },
    { clock: systemClock },
  );
  for (const piece of pieces) {
    if (client.destroyed || client.writableEnded) break;
    client.write(piece);
    await turn();
  }
  await atRest(() => answered.length + sent.length);
  connection.destroy();
  client.destroy();
  for (const duplex of opened) duplex.destroy();
  const text = Buffer.concat(answered).toString('latin1');
  return {
    decided,
    received,
    sent: Buffer.concat(sent).toString('latin1'),
    answered: text,
    statuses: [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1])),
  };
}

export function whole(text: string): Buffer[] {
  return [Buffer.from(text, 'latin1')];
}

export function everyByte(text: string): Buffer[] {
  return [...Buffer.from(text, 'latin1')].map((byte) => Buffer.of(byte));
}

export function splitAt(text: string, at: number): Buffer[] {
  const bytes = Buffer.from(text, 'latin1');
  return [bytes.subarray(0, at), bytes.subarray(at)];
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Nothing moved for some turns of the event loop: everything here is in memory, so nothing is under way either. */
async function atRest(progress: () => number): Promise<void> {
  for (let still = 0, last = -1; still < 6; still++) {
    await turn();
    if (progress() !== last) still = 0;
    last = progress();
  }
}
