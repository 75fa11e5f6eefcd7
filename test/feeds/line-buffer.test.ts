import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { LineBuffer, lineEnd } from '#feeds/line-buffer.ts';

const lines = fc.array(
  fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.nat(20_000).map((length) => '漢'.repeat(length)),
  ),
);

describe('a buffer of lines', () => {
  test('has all of them as UTF-8, however often it is used again', () => {
    const buffer = new LineBuffer();
    fc.assert(
      fc.property(lines, (all) => {
        for (const line of all) buffer.append(line);
        const text = all.map((line) => `${line}\n`).join('');
        assert.deepEqual([buffer.lines, buffer.characters], [all.length, text.length]);
        assert.ok(buffer.bytes.equals(Buffer.from(text)));
        assert.ok(buffer.bytes.equals(Buffer.from(text)), 'also when it is asked again');
        buffer.clear();
        assert.deepEqual([buffer.lines, buffer.characters, buffer.bytes.length], [0, 0, 0]);
      }),
    );
  });

  test('is cut after the line that reaches a place', () => {
    const bytes = Buffer.from('a\nbc\nd\n');
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6, 7, 8].map((at) => lineEnd(bytes, at)),
      [2, 2, 5, 5, 5, 7, 7, 7],
    );
  });
});
