import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import { describe, test } from 'node:test';
import { AccessLog, accessLogBytesMax } from '#feeds/access-log.ts';
import { eventually } from '../support/eventually.ts';

describe('the access log', () => {
  test('lines of one turn are one write, in order', async () => {
    const writes: string[] = [];
    const log = new AccessLog(
      new Writable({
        decodeStrings: false,
        write(chunk, _encoding, done) {
          writes.push(String(chunk));
          done();
        },
      }),
    );
    for (const line of ['{"n":1}', '{"n":2}', '{"n":3}']) log.append(line);
    assert.deepEqual(writes, []);
    await eventually(() => assert.deepEqual(writes, ['{"n":1}\n{"n":2}\n{"n":3}\n']));
  });

  test('a reader that stands still costs lines, not memory', async () => {
    const stuck = new Writable({ write() {} });
    const log = new AccessLog(stuck);
    const line = 'x'.repeat(1023);
    for (let n = 0; n < accessLogBytesMax / 1024; n++) log.append(line);
    assert.equal(log.dropped, 0);
    log.append(line);
    assert.equal(log.dropped, 1);
    await new Promise((resolve) => setImmediate(resolve));
    log.append(line);
    assert.equal(log.dropped, 2);
  });

  test('a reader that has gone is no reason to fail', async () => {
    const stream = new PassThrough();
    const log = new AccessLog(stream);
    stream.destroy(new Error('EPIPE'));
    await new Promise((resolve) => setImmediate(resolve));
    log.append('{}');
    assert.equal(log.dropped, 1);
  });
});
