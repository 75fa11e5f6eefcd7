import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { assertNothingLeaks } from '../support/assert-nothing-leaks.ts';
import { eventually } from '../support/eventually.ts';
import { type SidecarPair, startSidecarPair } from '../support/sidecar-pair.ts';
import { type BodyApplication, bodyOf, startBodyApplication } from './support/body-application.ts';

const mebibyte = 1024 * 1024;
const repeats = 60;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** All until the other side has ended; ours stays open, as it would not with `node:stream/consumers`. */
async function heardFrom(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  await once(socket, 'end');
  return Buffer.concat(pieces);
}

describe('an opaque connection through two sidecars', { timeout: 120_000 }, () => {
  const open = new Set<Socket>();
  const heard: string[] = [];
  let application: Server;
  let pair: SidecarPair;

  /** Told by the first byte: `d` reads to the end and answers with the digest of it, `s` says its own and ends its side, then reads. */
  before(async () => {
    application = createServer({ allowHalfOpen: true }, (socket) => {
      open.add(socket);
      socket.on('error', () => {}).on('close', () => open.delete(socket));
      socket.once('readable', () => void serve(socket).catch(() => {}));
    });
    application.listen(0, '127.0.0.1');
    await once(application, 'listening');
    const { port } = application.address() as AddressInfo;
    pair = await startSidecarPair({ applicationPort: port, protocol: 'tcp' });
  });

  after(async () => {
    application?.close();
    for (const socket of open) socket.destroy();
    await pair?.[Symbol.asyncDispose]();
  });

  async function serve(socket: Socket): Promise<void> {
    const [kind] = socket.read(1) as Buffer;
    if (kind === 's'.charCodeAt(0)) socket.end(bodyOf(mebibyte));
    const digest = sha256(await heardFrom(socket));
    heard.push(digest);
    if (kind === 'd'.charCodeAt(0)) socket.end(digest);
  }

  function dial(): Socket {
    return connect({ port: pair.port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {});
  }

  for (const size of [0, 1, 65_536, 8 * mebibyte]) {
    test(`the client ends its side after ${size} bytes, and gets its answer`, async () => {
      const socket = dial();
      socket.write('d');
      socket.end(bodyOf(size));
      assert.equal(String(await heardFrom(socket)), sha256(bodyOf(size)));
    });
  }

  test('the server ends its side, and goes on reading', async () => {
    const socket = dial();
    socket.write('s');
    assert.equal(sha256(await heardFrom(socket)), sha256(bodyOf(mebibyte)));
    socket.end(bodyOf(3 * mebibyte));
    await eventually(() => assert.equal(heard.at(-1), sha256(bodyOf(3 * mebibyte))));
  });

  for (const how of ['resetAndDestroy', 'destroy'] as const) {
    test(`${how} of the client reaches the server`, async () => {
      const socket = dial();
      socket.write('dx');
      await eventually(() => assert.equal(open.size, 1));
      socket[how]();
      await eventually(() => assert.equal(open.size, 0));
    });

    test(`${how} of the server reaches the client`, async () => {
      const socket = dial();
      socket.write('dx');
      await eventually(() => assert.equal(open.size, 1));
      const over = Promise.race([once(socket, 'close'), once(socket.resume(), 'end')]);
      for (const one of open) one[how]();
      await over;
      socket.destroy();
    });
  }

  test('nothing of it is left', async () => {
    const round = async () => {
      const ended = dial();
      ended.end('dx');
      await heardFrom(ended);
      const left = dial();
      left.write('dx');
      await eventually(() => assert.equal(open.size, 1));
      left.resetAndDestroy();
      await eventually(() => assert.equal(open.size, 0));
    };
    await assertNothingLeaks(pair, round, repeats);
  });
});

describe('a stream of HTTP/2 through two sidecars to HTTP/1.1', { timeout: 60_000 }, () => {
  let application: BodyApplication;
  let pair: SidecarPair;

  before(async () => {
    application = await startBodyApplication();
    pair = await startSidecarPair({ applicationPort: application.port, protocol: 'http' });
  });

  after(async () => {
    await application?.[Symbol.asyncDispose]();
    await pair?.[Symbol.asyncDispose]();
  });

  test('each piece is answered before the next is sent, and each side ends by itself', async () => {
    const session = connectHttp2(`http://127.0.0.1:${pair.port}`);
    const stream = session.request({ ':method': 'POST', ':path': '/stream' });
    for (let i = 0; i < 100; i++) {
      const answered = once(stream, 'data');
      stream.write(`piece ${i}`);
      assert.equal(String((await answered)[0]), `piece ${i}`);
    }
    assert.equal(application.open, 1);
    stream.end();
    await once(stream.resume(), 'end');
    session.close();
    await eventually(() => assert.equal(application.open, 0));
  });
});
