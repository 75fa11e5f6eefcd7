import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '#runtime/clock.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { ClientRecorder, outgoing } from './support/client-recorder.ts';
import { everyByte, splitAt, turn, whole } from './support/memory-proxy.ts';
import { memoryUpstream } from './support/memory-upstream.ts';

interface Case {
  readonly name: string;
  readonly bytes: string;
  readonly method?: string;
  /** The upstream closes after its bytes. */
  readonly closes?: boolean;
  readonly expect: {
    readonly status?: number;
    readonly body?: string;
    readonly trailers?: string;
    readonly informed?: number[];
    /** The rule, or the code where no rule is broken. */
    readonly error?: string;
    /** Default: true unless there is an error. */
    readonly isReusable?: boolean;
  };
}

const ok = 'HTTP/1.1 200 OK\r\n';
const refused = (name: string, bytes: string, error: string): Case => ({ name, bytes, expect: { error } });

const cases: readonly Case[] = [
  { name: 'a length', bytes: `${ok}Content-Length: 5\r\n\r\nhello`, expect: { status: 200, body: 'hello' } },
  { name: 'an empty reason', bytes: 'HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n', expect: { status: 200, body: '' } },
  {
    name: 'chunks and trailers',
    bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\n\r\n`,
    expect: { status: 200, body: 'hello', trailers: 'X-Sum: 1\r\n' },
  },
  {
    name: 'a body until the connection closes',
    bytes: `${ok}X: y\r\n\r\nhello`,
    closes: true,
    expect: { status: 200, body: 'hello', isReusable: false },
  },
  {
    name: 'HTTP/1.0',
    bytes: 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    expect: { status: 200, body: 'hello', isReusable: false },
  },
  {
    name: 'Connection: close',
    bytes: `${ok}Content-Length: 0\r\nConnection: close\r\n\r\n`,
    expect: { status: 200, body: '', isReusable: false },
  },
  { name: '204', bytes: 'HTTP/1.1 204 No Content\r\n\r\n', expect: { status: 204, body: '' } },
  {
    name: '304 with a length',
    bytes: 'HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n',
    expect: { status: 304, body: '' },
  },
  {
    name: 'HEAD with a length',
    method: 'HEAD',
    bytes: `${ok}Content-Length: 5\r\n\r\n`,
    expect: { status: 200, body: '' },
  },
  {
    name: 'HEAD with a coding',
    method: 'HEAD',
    bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n`,
    expect: { status: 200, body: '' },
  },
  {
    name: '204 with a coding, which is doubtful',
    bytes: 'HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n',
    expect: { status: 204, body: '', isReusable: false },
  },
  {
    name: 'interim responses before the final one',
    bytes: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}Content-Length: 2\r\n\r\nok`,
    expect: { status: 200, body: 'ok', informed: [100, 103] },
  },
  {
    name: 'bytes behind the response',
    bytes: `${ok}Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`,
    expect: { status: 200, body: 'ok', isReusable: false },
  },
  {
    name: 'a body behind HEAD',
    method: 'HEAD',
    bytes: `${ok}Content-Length: 2\r\n\r\nok`,
    expect: { status: 200, body: '', isReusable: false },
  },
  {
    name: 'a short body',
    bytes: `${ok}Content-Length: 6\r\n\r\nhello`,
    closes: true,
    expect: { error: 'upstream_failed' },
  },
  {
    name: 'chunks without an end',
    bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`,
    closes: true,
    expect: { error: 'upstream_failed' },
  },
  { name: 'a head without an end', bytes: `${ok}Content-Le`, closes: true, expect: { error: 'upstream_failed' } },
  { name: 'nothing', bytes: '', closes: true, expect: { error: 'upstream_failed' } },
  refused('length and coding', `${ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`, 'length_and_encoding'),
  refused('two equal lengths', `${ok}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`, 'content_length_repeated'),
  refused('a list of lengths', `${ok}Content-Length: 5,5\r\n\r\nhello`, 'content_length'),
  refused('a coding besides chunked', `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n`, 'transfer_encoding'),
  refused('a coding in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 'transfer_encoding'),
  refused('a switch nobody asked for', 'HTTP/1.1 101 x\r\nUpgrade: x\r\n\r\n', 'unexpected_switch'),
  refused('nine interim responses', 'HTTP/1.1 102 x\r\n\r\n'.repeat(9), 'interim_responses'),
  refused('a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n', 'status_line'),
  refused('a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n', 'status_line'),
  refused('status 099', 'HTTP/1.1 099 OK\r\n\r\n', 'status_line'),
  refused('status 600', 'HTTP/1.1 600 OK\r\n\r\n', 'status_line'),
  refused('no space behind the status', 'HTTP/1.1 200\r\n\r\n', 'status_line'),
  refused('NUL in the reason', 'HTTP/1.1 200 O\0K\r\n\r\n', 'status_line'),
  refused('a byte above ASCII in the reason', 'HTTP/1.1 200 \xe9\r\n\r\n', 'status_line'),
  refused('another protocol', 'SSH-2.0-OpenSSH_9.6\r\n', 'status_line'),
  refused('HTTP/2', 'HTTP/2.0 200 OK\r\n\r\n', 'version'),
  refused('a folded field', `${ok}X: a\r\n b\r\n\r\n`, 'field_fold'),
  refused('a line feed alone', `${ok}X: a\nY: b\r\n\r\n`, 'bare_lf'),
  refused('a carriage return alone', `${ok}X: a\rY: b\r\n\r\n`, 'bare_cr'),
  refused('a space before the colon', `${ok}Content-Length : 5\r\n\r\n`, 'field_name'),
  refused('Connection that names the length', `${ok}Connection: content-length\r\n\r\n`, 'connection_nominates'),
  refused('a bad chunk size', `${ok}Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n`, 'chunk_size'),
];

for (const { name, bytes, method = 'GET', closes = false, expect } of cases) {
  test(`response with ${name}: ${expect.error ?? expect.status}`, async () => {
    const splits = Array.from({ length: Math.max(0, bytes.length - 1) }, (_, index) => splitAt(bytes, index + 1));
    for (const pieces of [whole(bytes), everyByte(bytes), ...splits]) {
      const { recorded, isReused } = await answerWith(pieces, method, closes);
      if (expect.error !== undefined) {
        assert.equal(recorded.error?.rule ?? recorded.error?.code, expect.error);
        assert.equal(recorded.error?.status, 502);
        assert.equal(isReused, false);
        continue;
      }
      assert.equal(recorded.error, undefined);
      assert.equal(recorded.status, expect.status);
      assert.equal(recorded.body, expect.body);
      assert.equal(recorded.trailers, expect.trailers ?? '');
      assert.deepEqual(recorded.informed, expect.informed ?? []);
      // Bytes behind the response that come later are seen while idle: the connection is gone by then as well.
      assert.equal(isReused, expect.isReusable ?? true);
    }
  });
}

/** One request answered with `pieces`; then whether the pool still holds the connection. */
async function answerWith(pieces: readonly Buffer[], method: string, closes: boolean) {
  await using pool = new UpstreamPool({ clock: systemClock });
  const upstream = memoryUpstream(async ({ socket, heads }) => {
    await heads(1);
    for (const piece of pieces) {
      if (socket.destroyed || socket.writableEnded) return;
      socket.write(piece);
      await turn();
    }
    if (closes) socket.end();
  });
  const recorder = new ClientRecorder();
  pool.request(upstream, outgoing(method), recorder);
  const recorded = await recorder.done;
  for (let i = 0; i < pieces.length + 3 && pool.load('memory').idle > 0; i++) await turn();
  return { recorded, isReused: pool.load('memory').idle === 1 };
}
