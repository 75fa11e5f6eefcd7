import { createCipheriv } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocketServer } from 'ws';

const pieceBytes = 64 * 1024;
const pauseMs = 2;

export interface BodyApplication extends AsyncDisposable {
  readonly port: number;
  /** Requests that it has not answered to the end. */
  readonly open: number;
}

/**
 * Gives every body back, with the framing that it came with: `/echo` when it has all of it, `/stream` while it comes, `/slow` when it has all of
 * it, with a pause after each piece that it reads or writes. And every message of a WebSocket.
 */
export async function startBodyApplication(): Promise<BodyApplication> {
  let open = 0;
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    open++;
    response.once('close', () => open--);
    answer(request, response).catch(() => response.destroy());
  });
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('message', (data, binary) => socket.send(data, { binary }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    get open() {
      return open;
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        for (const socket of sockets.clients) socket.terminate();
      }),
  };
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { 'content-length': length } = request.headers;
  response.writeHead(200, { 'content-type': 'application/octet-stream', ...(length && { 'content-length': length }) });
  if (request.url === '/stream') return pipeline(request, response);
  const isSlow = request.url === '/slow';
  const pieces: Buffer[] = [];
  for await (const piece of request) {
    pieces.push(piece as Buffer);
    if (isSlow) await delay(pauseMs);
  }
  const body = Buffer.concat(pieces);
  if (!isSlow) return void response.end(body);
  await pipeline(slowly(body), response);
}

async function* slowly(body: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < body.length; at += pieceBytes) {
    yield body.subarray(at, at + pieceBytes);
    await delay(pauseMs);
  }
}

/** `size` bytes that no one takes for others: a key stream, the same every time. */
export function bodyOf(size: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, 'k'), Buffer.alloc(16)).update(Buffer.alloc(size));
}
