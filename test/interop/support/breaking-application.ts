import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

/** Where an application breaks off. In each phase it has everything before. */
export const breakPhases = [
  'after-request-head',
  'in-request-body',
  'after-request',
  'in-response-head',
  'in-response-length',
  'in-response-chunks',
] as const;
export type BreakPhase = (typeof breakPhases)[number];
/** With a FIN, or with a RST. */
export const breakKinds = ['close', 'reset'] as const;
export type BreakKind = (typeof breakKinds)[number];

/** Of each request and each response here. */
export const bodyBytes = 256 * 1024;
const half = Buffer.alloc(bodyBytes / 2, 'x');

export interface BreakingApplication extends AsyncDisposable {
  readonly port: number;
  /** Connections that are open. */
  readonly connections: number;
}

/**
 * Speaks HTTP/1.1 by hand, to be as bad as no library lets it. `/<phase>/<kind>` breaks off there, `/hang` never answers, `/drip` stops in the
 * middle of a response; anything else is answered when the whole request is there.
 */
export async function startBreakingApplication(): Promise<BreakingApplication> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return sockets.size;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function serve(socket: Socket): void {
  let held = '';
  let path: string | undefined;
  let left = 0;
  socket.on('data', (chunk: Buffer) => {
    held += chunk.toString('latin1');
    for (;;) {
      if (path === undefined) {
        const end = held.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = held.slice(0, end);
        held = held.slice(end + 4);
        path = /^\w+ (\S+)/.exec(head)![1]!;
        left = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
        if (path.startsWith('/after-request-head/')) return breakOff(socket, path);
      }
      const read = Math.min(left, held.length);
      left -= read;
      held = held.slice(read);
      if (path.startsWith('/in-request-body/') && left < bodyBytes / 2) return breakOff(socket, path);
      if (left > 0) return;
      answer(socket, path);
      path = undefined;
    }
  });
}

function answer(socket: Socket, path: string): void {
  const [, phase = ''] = path.split('/');
  const isHalf = phase === 'drip' || phase === 'in-response-length';
  if (phase === 'hang') return;
  if (phase === 'after-request') return breakOff(socket, path);
  if (phase === 'in-response-head') {
    socket.write('HTTP/1.1 200 OK\r\ncontent-len', () => breakOff(socket, path));
  } else if (phase === 'in-response-chunks') {
    socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${half.length.toString(16)}\r\n`);
    socket.write(half);
    socket.write('\r\n', () => breakOff(socket, path));
  } else {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${bodyBytes}\r\n\r\n`);
    socket.write(half, () => phase === 'in-response-length' && breakOff(socket, path));
    if (!isHalf) socket.write(half);
  }
}

function breakOff(socket: Socket, path: string): void {
  if (path.endsWith('/reset')) socket.resetAndDestroy();
  else socket.destroy();
}
