import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fieldLines, isFieldValue } from '#wire/field-lines.ts';
import { specialFieldNames } from '#wire/field-names.ts';
import { BodyDecoder } from '#wire/http1/body-decoder.ts';
import { defaultHttpLimits } from '#wire/limits.ts';
import { WireError } from '#wire/wire-error.ts';
import { feedBody } from '../fuzz/http1-body.ts';
import { feedHead } from '../fuzz/http1-head.ts';
import { throughProxy } from './support/memory-proxy.ts';

const tokenCharacters = "!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const token = fc.string({ unit: fc.constantFrom(...tokenCharacters), minLength: 1, maxLength: 20 });
const valueCharacter = fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code));
const value = fc.string({ unit: valueCharacter, maxLength: 60 }).map((text) => text.trim());
const isFree = ([name]: readonly [string, string]) =>
  !specialFieldNames.includes(name.toLowerCase()) && !name.toLowerCase().startsWith('cellmesh-');
const fields = fc.array(
  fc.tuple(fc.oneof(token, fc.constantFrom('Accept', 'Cookie', 'x-request-id')), value).filter(isFree),
  {
    maxLength: 20,
  },
);
const pathCharacter = fc.constantFrom(..."abcXYZ019-._~!$&'()*+,;=:@%/?");
const path = fc.string({ unit: pathCharacter, maxLength: 60 }).map((text) => `/${text}`);
const bytes = fc.uint8Array({ maxLength: 3_000 }).map((array) => Buffer.from(array).toString('latin1'));
const cuts = fc.array(fc.nat({ max: 5_000 }), { maxLength: 12 });

interface Message {
  readonly text: string;
  readonly path: string;
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
}

const message: fc.Arbitrary<Message> = fc
  .record({
    path,
    fields,
    body: bytes,
    chunkSizes: fc.option(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 })),
  })
  .map(({ chunkSizes, ...rest }) => {
    const lines = rest.fields.map(([name, text]) => `${name}: ${text}\r\n`).join('');
    const framing = chunkSizes === null ? `Content-Length: ${rest.body.length}` : 'Transfer-Encoding: chunked';
    const body = chunkSizes === null ? rest.body : inChunks(rest.body, chunkSizes);
    return { ...rest, text: `POST ${rest.path} HTTP/1.1\r\nHost: a\r\n${lines}${framing}\r\n\r\n${body}` };
  });

function inChunks(body: string, sizes: readonly number[]): string {
  let text = '';
  for (let at = 0, k = 0; at < body.length; k++) {
    const chunk = body.slice(at, at + sizes[k % sizes.length]!);
    text += `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
    at += chunk.length;
  }
  return `${text}0\r\n\r\n`;
}

function cut(text: string, at: readonly number[]): Buffer[] {
  const sorted = [0, ...at.map((index) => index % (text.length + 1)).sort((a, b) => a - b), text.length];
  const pieces = sorted.slice(1).map((end, k) => Buffer.from(text.slice(sorted[k], end), 'latin1'));
  return pieces.filter((piece) => piece.length > 0);
}

test('clean messages, pipelined and cut anywhere, reach the backend as they were', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 4 }), cuts, async (messages, at) => {
      const { received, decided, statuses } = await throughProxy(cut(messages.map(({ text }) => text).join(''), at));
      assert.deepEqual(
        received.map(({ target, body }) => [target, body]),
        messages.map((each) => [each.path, each.body]),
      );
      assert.equal(statuses.length, messages.length);
      decided.forEach((head, k) => {
        const seen = [...head.entries()].slice(1, -1);
        assert.deepEqual(seen, messages[k]!.fields);
      });
    }),
    { numRuns: 150 },
  );
});

test('a clean message with one byte changed is passed on as both parsers read it, or refused', async () => {
  await fc.assert(
    fc.asyncProperty(message, fc.nat(), fc.integer({ min: 0, max: 255 }), async ({ text }, position, byte) => {
      const at = position % text.length;
      const changed = text.slice(0, at) + String.fromCharCode(byte) + text.slice(at + 1);
      const { received, decided, statuses } = await throughProxy([Buffer.from(changed, 'latin1')]);
      assert.ok(received.length <= decided.length);
      received.forEach((request, k) => {
        assert.equal(request.target, decided[k]!.path);
        assert.equal(request.method, decided[k]!.method);
      });
      assert.ok(
        statuses.every((status) => [200, 400, 405, 414, 417, 431, 502, 505].includes(status)),
        String(statuses),
      );
    }),
    { numRuns: 600 },
  );
});

test('whatever bytes come, only typed errors leave the parsers', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (array) => {
      feedHead(array);
      feedBody(array);
    }),
    { numRuns: 3_000 },
  );
});

test('a chunked body decodes to the same bytes however it is cut', () => {
  fc.assert(
    fc.property(bytes, fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1 }), cuts, (body, sizes, at) => {
      const decoder = new BodyDecoder(defaultHttpLimits);
      decoder.start('chunked', -1);
      let decoded = '';
      for (const piece of cut(inChunks(body, sizes), at)) {
        for (let i = 0; i < piece.length && !decoder.isDone; ) {
          i = decoder.next(piece, i, piece.length);
          decoded += piece.toString('latin1', i - decoder.run, i);
        }
      }
      assert.equal(decoder.isDone, true);
      assert.equal(decoded, body);
      assert.equal(decoder.total, body.length);
    }),
  );
});

test('no value that is accepted for sending can end a line or hide in one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const isClean = /^[\t\x20-\x7e]*$/.test(text) && text.trim() === text;
      assert.equal(isFieldValue(text), isClean);
      if (isClean) assert.equal(fieldLines({ x: text }), `x: ${text}\r\n`);
      else assert.throws(() => fieldLines({ x: text }), TypeError);
    }),
    { numRuns: 2_000 },
  );
  assert.throws(() => fieldLines({ 'x\r\ny': 'z' }), TypeError);
  assert.throws(() => fieldLines({ 'X-Upper': 'z' }), TypeError);
  assert.ok(new WireError('upstream_failed', 'x').status === 502);
});
