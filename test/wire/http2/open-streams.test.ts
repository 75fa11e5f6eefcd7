import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OpenStreams } from '#wire/http2/open-streams.ts';
import type { Http2Stream } from '#wire/http2/stream.ts';

/** Numbers that lie near each other and others that fall on the same place: streams that stay open while thousands come and go. */
const streamId = fc
  .oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 40 }).map((n) => n * 64),
  )
  .map((n) => n * 2 + 1);

test('whatever is opened and closed, the table knows the same streams as a map', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), streamId), { maxLength: 300 }), (steps) => {
      const table = new OpenStreams();
      const expected = new Map<number, Http2Stream>();
      for (const [isOpened, id] of steps) {
        if (isOpened) {
          const stream = { id } as Http2Stream;
          table.add(stream);
          expected.set(id, stream);
        } else {
          table.delete(id);
          expected.delete(id);
        }
        assert.equal(table.size, expected.size);
        assert.equal(table.get(id), expected.get(id));
      }
      for (const [id, stream] of expected) assert.equal(table.get(id), stream);
      assert.deepEqual(
        table.all(),
        [...expected.values()].sort((a, b) => a.id - b.id),
      );
    }),
  );
});
