import { createServer } from 'node:net';

/**
 * The application behind the last hop, as a process of its own: answers every request with the body that its path names
 * (`/bytes/8192`), as cheaply as Node can, so that its own cost stays out of the way. Requests carry no body or one with a
 * Content-Length, which is read to its end first: a proxy that is given the answer to a large request early ends that connection, as RFC 9112,
 * section 9.3 has it, rather than read the rest. Speaks to its parent by IPC: sends its port, ends when the channel closes.
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
  let answer: Buffer | undefined;
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    for (;;) {
      if (answer !== undefined) {
        const skipped = Math.min(bodyBytesLeft, held.length);
        bodyBytesLeft -= skipped;
        held = held.subarray(skipped);
        if (bodyBytesLeft > 0) return;
        socket.write(answer);
        answer = undefined;
      }
      const end = held.indexOf(headEnd);
      if (end < 0) return;
      const head = held.toString('latin1', 0, end);
      held = held.subarray(end + headEnd.length);
      bodyBytesLeft = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
      answer = responseFor(head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP/')));
    }
  });
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') process.send?.({ port: address.port });
});
process.on('disconnect', () => server.close(() => {}).unref());
process.on('disconnect', () => process.exit(0));
