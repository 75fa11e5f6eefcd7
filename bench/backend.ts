import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { grpcBackend } from './grpc-backend.ts';

/**
 * The application behind the last hop, as a process of its own: answers every request with the body that its path names
 * (`/bytes/8192`), as cheaply as Node can, so that its own cost stays out of the way. Requests carry no body or one with a
 * Content-Length. On another port it answers calls of gRPC. Speaks to its parent by IPC: sends its ports, ends when the channel closes.
 */
const headEnd = Buffer.from('\r\n\r\n');
const responses = new Map<string, Buffer>();

function responseFor(path: string): Buffer {
  let response = responses.get(path);
  if (response === undefined) {
    const bytes = Number(/^\/bytes\/(\d+)/.exec(path)?.[1] ?? 100);
    const head = `HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: ${bytes}\r\n\r\n`;
    response = Buffer.concat([Buffer.from(head), Buffer.alloc(bytes, 'x')]);
    responses.set(path, response);
  }
  return response;
}

const server = createServer({ noDelay: true }, (socket) => {
  let held: Buffer = Buffer.alloc(0);
  let bodyBytesLeft = 0;
  /** Of the request whose body is still coming. An answer before its end would be right too, and proxies would close the connection behind it. */
  let path: string | undefined;
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    for (;;) {
      const skipped = Math.min(bodyBytesLeft, held.length);
      bodyBytesLeft -= skipped;
      held = held.subarray(skipped);
      if (bodyBytesLeft > 0) return;
      if (path !== undefined) socket.write(responseFor(path));
      path = undefined;
      const end = held.indexOf(headEnd);
      if (end < 0) return;
      const head = held.toString('latin1', 0, end);
      held = held.subarray(end + headEnd.length);
      bodyBytesLeft = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
      path = head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP/'));
    }
  });
});

async function listen(one: Server): Promise<number> {
  one.listen(0, '127.0.0.1');
  await once(one, 'listening');
  return (one.address() as AddressInfo).port;
}

process.on('disconnect', () => process.exit(0));
process.send?.({ port: await listen(server), grpcPort: await listen(grpcBackend()) });
