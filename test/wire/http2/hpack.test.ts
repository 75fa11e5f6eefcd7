import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ByteBuffer } from '#wire/byte-buffer.ts';
import { HpackDecoder } from '#wire/http2/hpack-decoder.ts';
import { HpackEncoder } from '#wire/http2/hpack-encoder.ts';
import { ConnectionFault } from '#wire/http2/protocol.ts';

const limits = { listBytesMax: 64 * 1024, fieldsMax: 200 };

function decode(decoder: HpackDecoder, hex: string): string[] {
  const bytes = Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
  const { fields, problem } = decoder.decode(bytes, 0, bytes.length, limits);
  if (problem !== undefined) throw problem;
  return fields.map(({ name, value }) => `${name}: ${value}`);
}

function encode(encoder: HpackEncoder, lines: string): Buffer {
  const out = new ByteBuffer(16);
  encoder.encode(lines, out);
  return out.bytes.subarray(0, out.length);
}

const firstRequest = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];
const secondRequest = [...firstRequest, 'cache-control: no-cache'];
const thirdRequest = [
  ':method: GET',
  ':scheme: https',
  ':path: /index.html',
  ':authority: www.example.com',
  'custom-key: custom-value',
];

describe('the examples of RFC 7541, Appendix C', () => {
  test('C.3: three requests without Huffman', () => {
    const decoder = new HpackDecoder(4096);
    assert.deepEqual(decode(decoder, '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d'), firstRequest);
    assert.equal(decoder.tableBytes, 57);
    assert.deepEqual(decode(decoder, '8286 84be 5808 6e6f 2d63 6163 6865'), secondRequest);
    assert.equal(decoder.tableBytes, 110);
    const third = '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65';
    assert.deepEqual(decode(decoder, third), thirdRequest);
    assert.equal(decoder.tableBytes, 164);
  });

  test('C.4: the same with Huffman', () => {
    const decoder = new HpackDecoder(4096);
    assert.deepEqual(decode(decoder, '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff'), firstRequest);
    assert.deepEqual(decode(decoder, '8286 84be 5886 a8eb 1064 9cbf'), secondRequest);
    assert.deepEqual(decode(decoder, '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf'), thirdRequest);
    assert.equal(decoder.tableBytes, 164);
  });

  test('C.6: responses with Huffman, evicting entries from a table of 256 bytes', () => {
    const decoder = new HpackDecoder(256);
    assert.deepEqual(
      decode(
        decoder,
        '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
      ),
      [
        ':status: 302',
        'cache-control: private',
        'date: Mon, 21 Oct 2013 20:13:21 GMT',
        'location: https://www.example.com',
      ],
    );
    assert.equal(decoder.tableBytes, 222);
    assert.deepEqual(decode(decoder, '4883 640e ffc1 c0bf'), [
      ':status: 307',
      'cache-control: private',
      'date: Mon, 21 Oct 2013 20:13:21 GMT',
      'location: https://www.example.com',
    ]);
    assert.equal(decoder.tableBytes, 222);
  });
});

describe('what a decoder refuses', () => {
  for (const [what, hex] of [
    ['index 0', '80'],
    ['an index beyond the table', 'be'],
    ['an integer without end', 'ffffffffffffff'],
    ['an integer that is cut off', 'ff80'],
    ['a string longer than its block', '0005 6162'],
    ['a string that is missing', '00'],
    ['a Huffman code with the end-of-string symbol', '0084 ffffffff 0161'],
    ['Huffman padding of a whole byte', '0082 1fff 0161'],
    ['Huffman padding with zeros', '0081 18 0161'],
    ['a table size above the limit', '3fe2 1f'],
    ['a table size update after a field', '8220'],
  ] as const) {
    test(what, () => {
      assert.throws(
        () => decode(new HpackDecoder(4096), hex),
        (error) => error instanceof ConnectionFault && error.errorCode === 9,
      );
    });
  }

  for (const [what, hex, rule] of [
    ['a name in upper case', '0001 41 0161', 'field_value'],
    ['a name with a space', '0002 6120 0161', 'field_value'],
    ['an empty name', '0000 0161', 'field_value'],
    ['a value with a line feed', '0001 61 020a61', 'field_value'],
    ['a value that begins with a space', '0001 61 022061', 'field_value'],
    ['a value above 0x7e', '0001 61 01ff', 'field_value'],
  ] as const) {
    test(`${what}, and goes on`, () => {
      const decoder = new HpackDecoder(4096);
      assert.throws(() => decode(decoder, hex), { rule });
      assert.deepEqual(decode(decoder, '82'), [':method: GET']);
    });
  }

  test('a bomb of references to one large entry: it is counted as it would unfold, and the table stays in step', () => {
    const decoder = new HpackDecoder(4096);
    const large = `4001 61 7f a11e ${'62'.repeat(4000)}`;
    decode(decoder, large);
    assert.throws(() => decode(decoder, 'be'.repeat(15_000)), { rule: 'head_size' });
    assert.equal(decode(decoder, 'be').length, 1);
  });
});

const names = fc.constantFrom('accept', 'x-request-id', 'traceparent', 'user-agent', 'cellmesh-token', 'cookie', 'x-a');
const values = fc.stringMatching(/^[!-~]([ -~]{0,120}[!-~])?$/);
const heads = fc.array(fc.tuple(names, fc.oneof(values, fc.constantFrom('a', 'b', 'c'.repeat(300)))), {
  maxLength: 12,
});
const tableSizes = fc.constantFrom(undefined, 0, 64, 100, 4096, 65_536);

/** `x-id` is repeated, so that one line follows itself. */
function headOf(path: string, id: string, at: number): string {
  const ids = `x-id: ${id}\r\n`.repeat(3);
  return `:method: GET\r\n:path: ${path}\r\n${ids}accept: */*\r\ntraceparent: 00-${at}\r\nx-a: b\r\nx-c: ${path}\r\n`;
}

describe('what the encoder writes', () => {
  test('reads back as it was, whatever comes again and however the table changes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(heads, tableSizes), { maxLength: 30 }), (messages) => {
        const encoder = new HpackEncoder(65_536);
        const decoder = new HpackDecoder(65_536);
        for (const [fields, tableBytes] of messages) {
          if (tableBytes !== undefined) encoder.allowTableBytes(tableBytes);
          const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
          const bytes = encode(encoder, lines);
          const decoded = decoder.decode(bytes, 0, bytes.length, limits);
          assert.equal(decoded.problem, undefined);
          assert.equal(decoded.fields.map(({ line }) => line).join(''), lines);
        }
      }),
    );
  });

  test('reads back as it was, where the same heads come hundreds of times, with lines that change between those that do not', () => {
    const one = fc.record({
      path: fc.constantFrom('/a', '/a', '/a', '/b'),
      id: fc.constantFrom('1', '1', '1', '2', '3'),
    });
    const block = fc.oneof(
      { weight: 9, arbitrary: one },
      { weight: 1, arbitrary: fc.constantFrom('grpc-status: 0\r\n', '') },
    );
    fc.assert(
      fc.property(fc.array(block, { minLength: 50, maxLength: 300, size: 'max' }), tableSizes, (blocks, tableBytes) => {
        const encoder = new HpackEncoder(65_536);
        const decoder = new HpackDecoder(65_536);
        if (tableBytes !== undefined) encoder.allowTableBytes(tableBytes);
        for (const [at, each] of blocks.entries()) {
          const lines = typeof each === 'string' ? each : headOf(each.path, each.id, at);
          const bytes = encode(encoder, lines);
          const decoded = decoder.decode(bytes, 0, bytes.length, limits);
          assert.equal(decoded.fields.map(({ line }) => line).join(''), lines);
        }
      }),
      { numRuns: 30 },
    );
  });

  test('is a byte or two a field for a head that was sent before', () => {
    const encoder = new HpackEncoder(65_536);
    encoder.allowTableBytes(65_536);
    const lines = `:method: GET\r\n:path: /v1/messages\r\nuser-agent: curl/8\r\ncellmesh-token: ${'e'.repeat(700)}\r\n`;
    for (let i = 0; i < 2; i++) encode(encoder, lines);
    assert.ok(encode(encoder, lines).length <= 8);
  });

  test('learns a value that stays, also where it stands in the place of many that did not', () => {
    const encoder = new HpackEncoder(65_536);
    const decoder = new HpackDecoder(65_536);
    const lengths = [
      ...Array.from({ length: 50 }, (_, at) => `${at}`.padStart(40, 'x')),
      ...Array(20).fill('y'.repeat(40)),
    ].map((id) => {
      const bytes = encode(encoder, `:status: 200\r\nx-id: ${id}\r\n`);
      assert.equal(decoder.decode(bytes, 0, bytes.length, limits).fields[1]?.value, id);
      return bytes.length;
    });
    assert.ok(lengths.at(-21)! > 40);
    assert.ok(lengths.at(-1)! <= 4);
  });

  test('never puts into the table what nobody should: credentials and cookies', () => {
    const encoder = new HpackEncoder(65_536);
    for (const name of ['authorization', 'proxy-authorization', 'cookie', 'set-cookie']) {
      for (let i = 0; i < 3; i++) {
        const bytes = encode(encoder, `${name}: secret\r\n`);
        assert.equal(bytes[0]! & 0xf0, 0x10, name);
        assert.equal(bytes.includes('secret'), true);
      }
    }
  });

  test('writes names in lower case and values without the spaces around them', () => {
    const bytes = encode(new HpackEncoder(4096), 'User-AGENT:  a b \t\r\n');
    const { fields } = new HpackDecoder(4096).decode(bytes, 0, bytes.length, limits);
    assert.deepEqual([fields[0]!.name, fields[0]!.value], ['user-agent', 'a b']);
  });
});

describe('blocks of entries only', () => {
  const literal = (name: string, value: string) =>
    Buffer.concat([
      Buffer.from([0x40, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]);

  test('one that comes again is the same object', () => {
    const decoder = new HpackDecoder(4096);
    decoder.decode(literal('grpc-status', '0'), 0, 15, limits);
    const decoded = Array.from({ length: 4 }, () => decoder.decode(Buffer.from([0xbe]), 0, 1, limits));
    assert.deepEqual(
      decoded.map(({ fields }) => fields.map(({ line }) => line)),
      Array.from({ length: 4 }, () => ['grpc-status: 0\r\n']),
    );
    assert.equal(decoded[3], decoded[2]);
  });

  test('the same bytes mean something else once the table has changed', () => {
    const decoder = new HpackDecoder(4096);
    for (const status of ['0', '5', '13']) {
      const bytes = literal('grpc-status', status);
      decoder.decode(bytes, 0, bytes.length, limits);
      for (let i = 0; i < 4; i++) assert.deepEqual(decode(decoder, 'be'), [`grpc-status: ${status}`]);
    }
    decode(decoder, '20 3fe11f');
    assert.throws(() => decode(decoder, 'be'), ConnectionFault);
  });

  test('of one length, more of them than are remembered, are told apart', () => {
    const decoder = new HpackDecoder(4096);
    const blocks = Array.from({ length: 61 * 61 }, (_, n) => [1 + (n % 61), 1 + Math.floor(n / 61)] as const);
    for (const [first, second] of blocks) {
      const bytes = Buffer.from([0x80 | first, 0x80 | second]);
      const alone = new HpackDecoder(4096).decode(bytes, 0, 2, limits).fields;
      for (let i = 0; i < 3; i++) assert.deepEqual(decoder.decode(bytes, 0, 2, limits).fields, alone);
    }
  });

  test('a shorter or longer block is another one', () => {
    const decoder = new HpackDecoder(4096);
    for (let i = 0; i < 4; i++) {
      assert.deepEqual(decode(decoder, '82'), [':method: GET']);
      assert.deepEqual(decode(decoder, '8286'), [':method: GET', ':scheme: http']);
      assert.deepEqual(decode(decoder, '8287'), [':method: GET', ':scheme: https']);
    }
  });
});
