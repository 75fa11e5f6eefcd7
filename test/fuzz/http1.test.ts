import { test } from 'node:test';
import { fuzzCount, fuzzSeed } from './budget.ts';
import { feedBody } from './http1-body.ts';
import { feedHead } from './http1-head.ts';
import { Mutator } from './mutate.ts';

/** Inputs a target. */
const count = fuzzCount(20_000);

const heads = [
  'GET /a?b=c HTTP/1.1\r\nHost: a.example:80\r\nAccept: */*\r\nContent-Length: 5\r\nConnection: close, x-hop\r\n\r\nhello',
  'POST http://a/x HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\ncellmesh-token: x\r\nx_y: z\r\n\r\n',
  'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\n\r\nhello',
  'HTTP/1.0 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n',
];
const bodies = [
  '5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n',
  '00A\r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nHost: b\r\ncellmesh-left: v1\r\n\r\n',
  'fffffffffffff\r\nx',
];

for (const [name, seeds, feed] of [
  ['head', heads, feedHead],
  ['body', bodies, feedBody],
] as const) {
  test(`${count} mutated inputs of the HTTP/1.1 ${name} parser, seed ${fuzzSeed}: only typed errors`, () => {
    const mutator = new Mutator(seeds, fuzzSeed);
    for (let i = 0; i < count; i++) feed(mutator.next());
  });
}
