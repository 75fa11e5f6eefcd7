import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { offBytes, onBytes, withSharedReads } from '#net/shared-reads.ts';
import { eventually } from '../support/eventually.ts';

const server = createServer((socket) => {
  peers.push(socket);
});
const peers: Socket[] = [];

before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
after(() => {
  for (const peer of peers) peer.destroy();
  server.close();
});

async function dial(): Promise<{ socket: Socket; peer: Socket; pieces: Buffer[] }> {
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection');
  const socket = withSharedReads((onread) => connect({ port, host: '127.0.0.1', onread }));
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  const [peer] = (await accepted) as [Socket];
  return { socket, peer, pieces };
}

describe('sockets that share a buffer for their reads', () => {
  test('keep what each has read, whatever the others read later', async () => {
    const [one, two] = [await dial(), await dial()];
    for (let n = 0; n < 50; n++) {
      one.peer.write(Buffer.alloc(1 + n * 100, 'a'));
      two.peer.write(Buffer.alloc(1 + n * 100, 'b'));
      await eventually(() => assert.equal(Buffer.concat(two.pieces).length, ((n + 1) * (2 + n * 100)) / 2));
    }
    await eventually(() => assert.equal(Buffer.concat(one.pieces).length, (50 * (2 + 4_900)) / 2));
    assert.ok(Buffer.concat(one.pieces).every((byte) => byte === 0x61));
    assert.ok(Buffer.concat(two.pieces).every((byte) => byte === 0x62));
    for (const { socket } of [one, two]) socket.destroy();
  });

  test('read no more while their reader pauses, and all of it in order afterwards', async () => {
    const { socket, peer, pieces } = await dial();
    socket.pause();
    const sent = Buffer.alloc(32_000_000, Buffer.from(Array.from({ length: 251 }, (_, n) => n)));
    peer.end(sent);
    await eventually(() => assert.ok(peer.writableLength > 0));
    assert.ok(socket.readableLength <= 128 * 1024, `${socket.readableLength} bytes are held`);
    socket.resume();
    await once(socket, 'end');
    assert.ok(Buffer.concat(pieces).equals(sent));
  });

  test('lend their bytes to who reads them at once, without a copy, and in order with what waited', async () => {
    const { socket, peer, pieces } = await dial();
    socket.removeAllListeners('data');
    const memories = new Set<ArrayBufferLike>();
    let isFirst = true;
    const listener = (bytes: Buffer) => {
      memories.add(bytes.buffer);
      pieces.push(Buffer.from(bytes));
      // A pause in the midst of the flow: what comes before it takes effect waits in the stream.
      if (isFirst) {
        isFirst = false;
        socket.pause();
        setTimeout(() => socket.resume(), 20);
      }
    };
    onBytes(socket, listener);
    socket.resume();
    const sent = Buffer.alloc(8_000_000, Buffer.from(Array.from({ length: 251 }, (_, n) => n)));
    peer.end(sent);
    await once(socket, 'end');
    assert.ok(Buffer.concat(pieces).equals(sent));
    assert.ok(memories.size < 10, `${memories.size} pieces of memory were read into`);
  });

  test('lend nothing more to a reader that has left', async () => {
    const { socket, peer, pieces } = await dial();
    socket.removeAllListeners('data');
    const lent: number[] = [];
    const listener = (bytes: Buffer) => void lent.push(bytes.length);
    onBytes(socket, listener);
    socket.resume();
    peer.write('one');
    await eventually(() => assert.deepEqual(lent, [3]));
    offBytes(socket, listener);
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    peer.write('three');
    await eventually(() => assert.equal(Buffer.concat(pieces).toString(), 'three'));
    assert.deepEqual(lent, [3]);
    socket.destroy();
  });
});

describe('sockets that were accepted', () => {
  const sent = Buffer.alloc(8_000_000, Buffer.from(Array.from({ length: 251 }, (_, n) => n)));

  async function accept(): Promise<{ accepted: Socket; dialed: Socket; pieces: Buffer[] }> {
    const { port } = server.address() as AddressInfo;
    const connection = once(server, 'connection');
    const dialed = connect({ port, host: '127.0.0.1' });
    const [accepted] = (await connection) as [Socket];
    return { accepted, dialed, pieces: [] };
  }

  test('tell what they read past the stream, and in order with what waited', async () => {
    const { accepted, dialed, pieces } = await accept();
    accepted.unshift(Buffer.from('first'));
    let told = 0;
    onBytes(accepted, (bytes) => {
      pieces.push(Buffer.from(bytes));
      if (++told % 20 !== 2) return;
      accepted.pause();
      setTimeout(() => accepted.resume(), 5);
    });
    accepted.resume();
    dialed.end(sent);
    await once(accepted, 'end');
    assert.ok(Buffer.concat(pieces).equals(Buffer.concat([Buffer.from('first'), sent])));
    dialed.destroy();
  });

  test('read no more while their reader pauses', async () => {
    const { accepted, dialed, pieces } = await accept();
    onBytes(accepted, (bytes) => pieces.push(Buffer.from(bytes)));
    accepted.resume();
    dialed.write('one');
    await eventually(() => assert.equal(pieces.length, 1));
    accepted.pause();
    const much = Buffer.concat([sent, sent, sent, sent]);
    dialed.end(much);
    await eventually(() => assert.ok(accepted.readableLength > 0));
    assert.ok(accepted.readableLength <= 256 * 1024, `${accepted.readableLength} bytes are held`);
    assert.ok(dialed.writableLength > 0);
    accepted.resume();
    await once(accepted, 'end');
    assert.ok(Buffer.concat(pieces.slice(1)).equals(much));
    dialed.destroy();
  });

  test('are streams like others for whoever reads after the reader has left', async () => {
    const { accepted, dialed, pieces } = await accept();
    const told: string[] = [];
    const listener = (bytes: Buffer) => void told.push(bytes.toString());
    onBytes(accepted, listener);
    accepted.resume();
    dialed.write('one');
    await eventually(() => assert.deepEqual(told, ['one']));
    offBytes(accepted, listener);
    accepted.on('data', (piece: Buffer) => pieces.push(piece));
    dialed.end(sent);
    await once(accepted, 'end');
    assert.ok(Buffer.concat(pieces).equals(sent));
    assert.deepEqual(told, ['one']);
    dialed.destroy();
  });
});
