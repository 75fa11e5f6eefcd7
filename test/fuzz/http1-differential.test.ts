import { METHODS } from 'node:http';
import { test } from 'node:test';
import fc from 'fast-check';
import { fuzzCount, fuzzSeed } from './budget.ts';
import { input, readsOf, request, response } from './http1-arbitraries.ts';
import { nodeRequests, nodeResponse, ourRequests, ourResponse } from './http1-readings.ts';
import { assertSameMeaning, type Differences, type Message } from './same-meaning.ts';

const has = (name: string, message: Message) => message.fields.some(([each]) => each.toLowerCase() === name);
const isChunked = (taken: readonly Message[]) => has('transfer-encoding', taken.at(-1)!);

/** Of both directions. */
const laxer: Differences['laxer'] = {
  HPE_INVALID_CONTENT_LENGTH: {
    why: 'RFC 9110 6.5.1: Content-Length in trailers is left out, not an error',
    holds: isChunked,
  },
  HPE_INVALID_TRANSFER_ENCODING: {
    why: 'RFC 9110 6.5.1: Transfer-Encoding in trailers is left out, not an error',
    holds: isChunked,
  },
  HPE_STRICT: {
    why: 'RFC 9112 7.1.1: white space around `;` and `=` of a chunk extension',
    holds: isChunked,
  },
  undefined: {
    why: 'RFC 9110 7.8: an upgrade that nobody takes is an ordinary request; the parser of Node stops behind it',
    holds: (taken) => taken.some((message) => has('upgrade', message)),
  },
  HPE_CLOSED_CONNECTION: {
    why: 'RFC 9112 9.6: `close` in an interim response; the final one still follows',
    holds: (taken) => taken.slice(0, -1).some(({ line }) => line.startsWith('1')),
  },
  HPE_INVALID_METHOD: {
    why: 'RFC 9110 9.1: any token is a method; Node has a list',
    holds: (taken) => !METHODS.includes(taken.at(-1)!.line.split(' ')[0]!),
  },
};

const stricter = {
  field_value: 'RFC 9110 5.5: bytes from 0x80 (obs-text), of which readers make different characters',
  transfer_encoding: 'RFC 9112 6.1: codings other than one `chunked`, and any in a message of HTTP/1.0',
  trailer: 'RFC 9110 5.5: the same in trailers',
  chunk_extension: 'RFC 9112 7.1.1: control characters and obs-text in a chunk extension',
} as const;

const count = { requests: fuzzCount(2_000), responses: fuzzCount(1_500) };

test(`${count.requests} connections with requests mean the same to node:http, or are refused, seed ${fuzzSeed}`, async () => {
  const differences: Differences = {
    laxer,
    stricter: {
      ...stricter,
      host_missing: 'RFC 9112 3.2: both answer 400; we close the connection, Node goes on with what follows',
      host_repeated: 'RFC 9112 3.2: more than one Host',
      host_differs: 'RFC 9112 3.2.2: a Host that is not that of the target',
      authority: 'RFC 9112 3.2: a Host that is no host',
      target_bytes: 'RFC 3986 2: bytes that no URI has, and a fragment (RFC 9112 3.2.1)',
      target_form: 'RFC 9110 4.2: an absolute target of another scheme than http and https',
      request_line: 'RFC 9112 3: a request line without a version (HTTP/0.9)',
      version: 'RFC 9112 2.3: requests of HTTP/1.0',
      bare_cr: 'RFC 9112 2.2: a CR alone before the request',
      method: 'RFC 9112 2.2: an empty line before the request that is no CRLF',
    },
  };
  await fc.assert(
    fc.asyncProperty(input(request, 3), async (sent) => {
      const reads = readsOf(sent);
      assertSameMeaning(await ourRequests(reads), await nodeRequests(reads), differences);
    }),
    { numRuns: count.requests, seed: fuzzSeed },
  );
});

test(`${count.responses} responses mean the same to node:http, or are refused, seed ${fuzzSeed}`, async () => {
  const differences: Differences = {
    laxer,
    stricter: {
      ...stricter,
      status_line: 'RFC 9112 4: control characters and obs-text in the reason',
    },
  };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('GET', 'GET', 'HEAD', 'POST'), input(response, 1), async (method, sent) => {
      const reads = readsOf(sent);
      assertSameMeaning(await ourResponse(method, reads), await nodeResponse(method, reads), differences);
    }),
    { numRuns: count.responses, seed: fuzzSeed },
  );
});
