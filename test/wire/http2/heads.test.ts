import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fieldSet } from '#wire/field-names.ts';
import type { DecodedBlock } from '#wire/http2/decoded-block.ts';
import { HpackDecoder } from '#wire/http2/hpack-decoder.ts';
import { trailersOf } from '#wire/http2/http2-fields.ts';
import { requestHeadOf } from '#wire/http2/request-head.ts';
import { responseHeadOf } from '#wire/http2/response-head.ts';
import { defaultHttpLimits as limits } from '#wire/limits.ts';

const decoder = new HpackDecoder(4096);

function blockOf(hex: string): DecodedBlock {
  const bytes = Buffer.from(hex, 'hex');
  return decoder.decode(bytes, 0, bytes.length, { listBytesMax: 4096, fieldsMax: 20 });
}

describe('a block that is read more than once', () => {
  test('a request says whether a body follows, each time', () => {
    // POST http /, with an authority and a content type.
    const block = blockOf('838684 010178 0f100178'.replaceAll(' ', ''));
    for (let i = 0; i < 2; i++) {
      assert.equal(requestHeadOf(block, false, limits).framing, 'chunked');
      assert.equal(requestHeadOf(block, true, limits).framing, 'length');
    }
    assert.equal(requestHeadOf(block, true, limits), requestHeadOf(block, true, limits));
  });

  test('a response goes by the method and by whether a body follows', () => {
    const block = blockOf('88');
    for (let i = 0; i < 2; i++) {
      assert.equal(responseHeadOf(block, false, limits, 'GET').framing, 'chunked');
      assert.equal(responseHeadOf(block, false, limits, 'HEAD').framing, 'none');
      assert.equal(responseHeadOf(block, true, limits, 'GET').framing, 'none');
    }
  });

  test('its lines go by what is left out', () => {
    const block = blockOf('88 0f100178 0f120179'.replaceAll(' ', ''));
    const head = responseHeadOf(block, false, limits, 'GET');
    const all = head.linesExcept(fieldSet());
    const drop = fieldSet('content-type');
    const some = head.linesExcept(drop);
    assert.match(all, /^content-type: x\r\n[a-z-]+: y\r\n$/);
    assert.equal(some, all.slice(all.indexOf('\n') + 1));
    for (let i = 0; i < 2; i++) assert.equal(head.linesExcept(drop), some);
    assert.equal(head.linesExcept(fieldSet()), all);
  });

  test('a head is no trailers', () => {
    const block = blockOf('88');
    responseHeadOf(block, true, limits, 'GET');
    assert.throws(() => trailersOf(block, limits.lineBytesMax), { name: 'WireError' });
  });
});
