import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MessageWriter } from '#wire/http1/message-writer.ts';

/** A socket that takes nothing until `take` says so. */
class SlowSocket extends Writable {
  readonly writes: Buffer[] = [];
  #done: (() => void) | undefined;

  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    this.writes.push(bytes);
    this.#done = done;
  }

  take(): void {
    this.#done?.();
  }

  get text(): string {
    return Buffer.concat(this.writes).toString('latin1');
  }
}

describe('a writer of messages', () => {
  test('joins head and pieces of one turn to one write, small ones and large ones', async () => {
    for (const pieceBytes of [100, 10_000]) {
      const socket = new SlowSocket();
      const writer = new MessageWriter(socket as never);
      writer.begin('HEAD\r\n\r\n', 'length', 3 * pieceBytes);
      for (const letter of 'abc') writer.write(Buffer.alloc(pieceBytes, letter));
      writer.end('');
      assert.equal(socket.writes.length, 1);
      const body = ['a', 'b', 'c'].map((letter) => letter.repeat(pieceBytes)).join('');
      assert.equal(socket.text, `HEAD\r\n\r\n${body}`);
    }
  });

  test('keeps a large body in chunks whole and in order, whatever becomes of the bytes it was given', async () => {
    const socket = new SlowSocket({ highWaterMark: 64 * 1024 });
    const writer = new MessageWriter(socket as never);
    writer.begin('HEAD\r\n\r\n', 'chunked', -1);
    const lent = Buffer.alloc(20_000);
    let expected = 'HEAD\r\n\r\n';
    let hadRoom = true;
    for (let n = 0; n < 20; n++) {
      const bytes = lent.subarray(0, n % 3 === 0 ? 7 : 20_000).fill(65 + n);
      expected += `${bytes.length.toString(16)}\r\n${bytes.toString('latin1')}\r\n`;
      hadRoom = writer.write(bytes);
      if (n % 5 === 0) await nextTurn();
    }
    lent.fill(0);
    assert.equal(hadRoom, false);
    writer.end('x: y\r\n');
    while (socket.writableLength > 0) {
      socket.take();
      await nextTurn();
    }
    assert.ok(socket.text === `${expected}0\r\nx: y\r\n\r\n`);
    assert.equal(writer.writtenBytes, socket.text.length);
  });

  test('sends a large piece that nothing follows by the end of the turn', async () => {
    const socket = new SlowSocket();
    const writer = new MessageWriter(socket as never);
    writer.begin('HEAD\r\n\r\n', 'chunked', -1);
    writer.write(Buffer.alloc(5_000, 'a'));
    await nextTurn();
    await nextTurn();
    assert.match(socket.text, /^HEAD\r\n\r\n1388\r\na{5000}\r\n$/);
  });
});
