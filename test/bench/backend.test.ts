import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';

/** Who answers early makes proxies end the connection (RFC 9112 9.3), and the load generator count a failure that is nobody's. */
test('the backend of the benchmark answers when it has the whole request', async () => {
  const backend = fork(join(import.meta.dirname, '../../bench/backend.ts'));
  const [{ port }] = (await once(backend, 'message')) as [{ port: number }];
  const [large, small] = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
  try {
    let heard = '';
    large.setEncoding('latin1').on('data', (text: string) => {
      heard += text;
    });
    await once(large, 'connect');
    large.write('POST /bytes/3 HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345');
    // The answer to the second one shows that the first has been read as far as it came.
    for (let i = 0; i < 3; i++) {
      small.write('GET /bytes/3 HTTP/1.1\r\nhost: x\r\n\r\n');
      await once(small, 'data');
    }
    assert.equal(heard, '');
    large.write('67890');
    await once(large, 'data');
    assert.match(heard, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nxxx$/);
  } finally {
    large.destroy();
    small.destroy();
    backend.disconnect();
    await once(backend, 'exit');
  }
});
