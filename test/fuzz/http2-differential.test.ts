import { test } from 'node:test';
import fc from 'fast-check';
import { fuzzCount, fuzzSeed } from './budget.ts';
import { clientReads, serverReads } from './http2-arbitraries.ts';
import { nodeClient, nodeServer, ourClient, ourServer } from './http2-readings.ts';
import { assertSameStreams, type Differences } from './same-meaning.ts';

const stricter = {
  field_value: 'RFC 9113 8.2.1, RFC 9110 5.5: bytes from 0x80 (obs-text), of which readers make different characters',
  trailer: 'the same in trailers',
} as const;

const count = fuzzCount(1_500);

test(`${count} connections of clients mean the same to node:http2, or are refused, seed ${fuzzSeed}`, async () => {
  const differences: Differences = {
    laxer: {
      'connection: ERR_HTTP2_ERROR: Protocol error': {
        why: 'RFC 9113 5.4.2, 8.1.1: a malformed request costs its stream; Node ends the connection',
        holds: (_, { refused }) => refused !== undefined && refused.length > 0,
      },
    },
    stricter: {
      ...stricter,
      host_differs: 'RFC 9113 8.3.1: a Host that is not :authority',
      pseudo_field: 'RFC 9113 8.3.1: a :scheme other than http and https',
      authority: 'RFC 9110 4.2.3, 7.2: an :authority or Host that is no host',
      'connection: STREAM_CLOSED': 'RFC 9113 5.1: frames of a stream after its end',
      target_bytes: 'RFC 9113 8.3.1, RFC 3986 2: bytes that no URI has, and a fragment',
      expectation: 'RFC 9110 10.1.1: an expectation other than one 100-continue',
    },
  };
  await fc.assert(
    fc.asyncProperty(clientReads, async (reads) => {
      assertSameStreams(await ourServer(reads), await nodeServer(reads), differences);
    }),
    { numRuns: count, seed: fuzzSeed },
  );
});

test(`${count} connections of servers mean the same to node:http2, or are refused, seed ${fuzzSeed}`, async () => {
  const differences: Differences = {
    laxer: {
      'ERR_HTTP2_STREAM_ERROR: Stream closed with error code NGHTTP2_PROTOCOL_ERROR': {
        why: 'RFC 9110 8.6: a Content-Length in a 204 is read over, and not passed on',
        holds: ([response]) => response!.line === '204',
      },
    },
    stricter: { ...stricter, pseudo_field: 'RFC 9110 15: a :status that is not from 100 to 599' },
  };
  await fc.assert(
    fc.asyncProperty(serverReads, async (reads) => {
      assertSameStreams(await ourClient(reads), await nodeClient(reads), differences);
    }),
    { numRuns: count, seed: fuzzSeed },
  );
});
