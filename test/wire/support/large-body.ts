import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { startReverseProxy } from './reverse-proxy.ts';

/** What the kernel holds in four socket buffers of a loopback path, and the proxy in its own queues. */
const underWayMax = 40 * 1024 * 1024;
const piece = Buffer.alloc(256 * 1024, 'x');

/** Writes `size` bytes, told before each piece. */
async function writeBody(
  socket: net.Socket,
  size: number,
  frame: (bytes: Buffer) => Buffer[],
  onPiece: () => void,
): Promise<void> {
  for (let left = size; left > 0; left -= piece.length) {
    onPiece();
    let hasRoom = true;
    for (const part of frame(piece)) hasRoom = socket.write(part);
    if (!hasRoom) await once(socket, 'drain');
  }
}

const plain = (bytes: Buffer) => [bytes];
const chunked = (bytes: Buffer) => [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')];

const framings = {
  length: { fieldOf: (size: number) => `Content-Length: ${size}`, frame: plain, end: '' },
  chunks: { fieldOf: () => 'Transfer-Encoding: chunked', frame: chunked, end: '0\r\n\r\n' },
} as const;

/** `size` bytes up and down through a proxy, whose readers pause now and then: all of them arrive, and few are under way at any time. */
export async function passLargeBody(size: number, framing: keyof typeof framings): Promise<void> {
  const { fieldOf, frame, end } = framings[framing];
  const field = fieldOf(size);
  let received = 0;
  let mostUnderWay = 0;
  const backend = net.createServer((socket) => {
    let head: string | undefined = '';
    const atLeast = size;
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      if (head !== undefined) {
        head += bytes.toString('latin1');
        const at = head.indexOf('\r\n\r\n');
        if (at < 0) return;
        received = head.length - at - 4;
        head = undefined;
      } else received += bytes.length;
      if (received % 500 === 0) pauseFor(socket);
      if (received >= atLeast && !isAnswered) {
        isAnswered = true;
        void answer(socket);
      }
    });
  });
  let isAnswered = false;
  let answered = 0;
  let sentDown = 0;
  const answer = async (socket: net.Socket) => {
    socket.write(`HTTP/1.1 200 OK\r\n${field}\r\n\r\n`);
    await writeBody(socket, size, frame, () => {
      sentDown += piece.length;
      mostUnderWay = Math.max(mostUnderWay, sentDown - answered);
    });
    socket.end(end);
  };
  backend.listen(0, '127.0.0.1');
  await once(backend, 'listening');
  await using proxy = await startReverseProxy({ backendPort: (backend.address() as AddressInfo).port });
  const client = net.connect(proxy.port, '127.0.0.1');
  client.on('data', (bytes) => {
    answered += bytes.length;
    if (answered % 500 === 0) pauseFor(client);
  });
  client.write(`POST / HTTP/1.1\r\nHost: a\r\n${field}\r\nConnection: close\r\n\r\n`);
  let sentUp = 0;
  await writeBody(client, size, frame, () => {
    sentUp += piece.length;
    mostUnderWay = Math.max(mostUnderWay, sentUp - received);
  });
  client.write(end);
  await once(client, 'close');
  assert.ok(received >= size, `${received} bytes came up`);
  assert.ok(answered >= size, `${answered} bytes came down`);
  assert.equal(proxy.outcomes[0]?.requestBodyBytes, size);
  assert.equal(proxy.outcomes[0]?.responseBodyBytes, size);
  assert.equal(proxy.outcomes[0]?.error, undefined);
  assert.ok(mostUnderWay < underWayMax, `${mostUnderWay} bytes were under way`);
  backend.close();
}

function pauseFor(socket: net.Socket): void {
  socket.pause();
  setTimeout(() => socket.resume(), 20);
}
