import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  bitString,
  boolean,
  type Der,
  decodeDer,
  derBytesMax,
  derDepthMax,
  encodeDer,
  integer,
  octetString,
  oid,
  readBitString,
  readBoolean,
  readOid,
  readTime,
  sequence,
  set,
  smallInteger,
  time,
  utf8String,
} from '#certs/der.ts';

const refused = { code: 'der_invalid' };

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

for (const [why, bytes] of [
  ['it is empty', ''],
  ['it ends after the tag', '30'],
  ['it ends inside a length', '30 82 01'],
  ['the value is truncated', '04 02 00'],
  ['a child is longer than its parent', '30 03 04 02 00 00'],
  ['a byte follows', '05 00 00'],
  ['a second value follows', '05 00 05 00'],
  ['the length is indefinite', '30 80 05 00 00 00'],
  ['the length is indefinite and primitive', '04 80 00 00'],
  ['a short length is written long', '04 81 01 00'],
  ['a length has a leading zero', `04 82 00 80 ${'00'.repeat(128)}`],
  ['a length takes three bytes', '04 83 01 00 00'],
  ['a length takes 127 bytes', '04 ff 01'],
  ['the tag number is above 30', '1f 81 00 00'],
  ['an integer is padded', '02 02 00 01'],
  ['a negative integer is padded', '02 02 ff ff'],
] as const) {
  test(`refused because ${why}`, () => assert.throws(() => decodeDer(hex(bytes)), refused));
}

test('16 KiB are decoded, one byte more is refused', () => {
  const atLimit = encodeDer(octetString(Buffer.alloc(derBytesMax - 4)));
  assert.equal(atLimit.length, derBytesMax);
  assert.equal(decodeDer(atLimit).content.length, derBytesMax - 4);
  assert.throws(() => decodeDer(encodeDer(octetString(Buffer.alloc(derBytesMax - 3)))), refused);
});

test('16 levels are decoded, one more is refused, and thousands are refused as quickly', () => {
  const nested = (depth: number): Der => (depth === 0 ? smallInteger(1) : sequence(nested(depth - 1)));
  decodeDer(encodeDer(nested(derDepthMax)));
  assert.throws(() => decodeDer(encodeDer(nested(derDepthMax + 1))), refused);
  let bytes = Buffer.alloc(0);
  while (bytes.length < derBytesMax - 8) {
    const length =
      bytes.length < 0x80
        ? [bytes.length]
        : bytes.length < 0x100
          ? [0x81, bytes.length]
          : [0x82, bytes.length >> 8, bytes.length & 255];
    bytes = Buffer.concat([Buffer.from([0x30, ...length]), bytes]);
  }
  const started = performance.now();
  assert.throws(() => decodeDer(bytes), refused);
  assert.ok(performance.now() - started < 1000);
});

test('what is encoded is decoded to the same value', () => {
  const leaf = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map(octetString),
    fc.uint8Array({ minLength: 1, maxLength: 20 }).map(integer),
    fc.boolean().map(boolean),
    fc.uint8Array({ maxLength: 40 }).map((bits) => bitString(bits)),
    fc.string().map(utf8String),
    fc.constantFrom('2.5.29.15', '1.2.840.113549.1.1.11', '1.3.6.1.4.1.11129.2.4.2').map(oid),
  );
  const tree = fc.letrec<{ node: Der }>((tie) => ({
    node: fc.oneof(
      { depthSize: 'small', maxDepth: 5 },
      leaf,
      fc.array(tie('node'), { maxLength: 4 }).map((all) => sequence(...all)),
    ),
  })).node;
  fc.assert(
    fc.property(tree, (node) => {
      const bytes = encodeDer(node);
      fc.pre(bytes.length <= derBytesMax);
      assert.deepEqual(decodeDer(bytes), node);
    }),
  );
});

test('arbitrary bytes give a value that is written back as the same bytes, or the typed error', () => {
  const biased = fc.array(
    fc.constantFrom(0x30, 0x02, 0x03, 0x04, 0x06, 0x05, 0x00, 0x01, 0x80, 0x81, 0x82, 0xa0, 0xff),
    { maxLength: 64 },
  );
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), biased), (input) => {
      const bytes = Buffer.from(input);
      let der: Der;
      try {
        der = decodeDer(bytes);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'der_invalid', String(error));
        return;
      }
      assert.deepEqual(encodeDer(der), bytes);
    }),
    { numRuns: 5000 },
  );
});

test('an object identifier has one spelling', () => {
  assert.equal(readOid(decodeDer(hex('06 03 55 1d 0f'))), '2.5.29.15');
  for (const [why, bytes] of [
    ['padded', '06 04 55 1d 80 0f'],
    ['wrapping around 32 bits', '06 08 55 1d 90 80 80 80 80 0f'],
    ['cut short', '06 03 55 1d 8f'],
    ['empty', '06 00'],
  ] as const) {
    assert.throws(() => readOid(decodeDer(hex(bytes))), refused, why);
  }
});

test('a boolean is 0 or 255', () => {
  assert.equal(readBoolean(decodeDer(hex('01 01 ff'))), true);
  assert.equal(readBoolean(decodeDer(hex('01 01 00'))), false);
  for (const bytes of ['01 01 01', '01 00', '01 02 ff ff'])
    assert.throws(() => readBoolean(decodeDer(hex(bytes))), refused);
});

test('unused bits of a bit string are few and zero', () => {
  assert.deepEqual(readBitString(decodeDer(hex('03 02 07 80'))), { bits: hex('80'), unusedBits: 7 });
  for (const bytes of ['03 00', '03 01 01', '03 02 08 00', '03 02 07 c0']) {
    assert.throws(() => readBitString(decodeDer(hex(bytes))), refused, bytes);
  }
});

test('times are read in the one form of RFC 5280, over the whole range', () => {
  for (const iso of ['1950-01-01T00:00:00Z', '2049-12-31T23:59:59Z', '2050-01-01T00:00:00Z', '2026-02-28T12:34:56Z']) {
    assert.equal(readTime(decodeDer(encodeDer(time(Date.parse(iso))))), Date.parse(iso), iso);
  }
  for (const text of [
    '260230000000Z',
    '261301000000Z',
    '2601010000Z',
    '260101000000+0000',
    '260101000000',
    '260101246000Z',
  ]) {
    assert.throws(() => readTime({ tag: 0x17, content: Buffer.from(text), children: [] }), refused, text);
  }
  assert.throws(() => readTime({ tag: 0x18, content: Buffer.from('260101000000Z'), children: [] }), refused);
  assert.throws(() => readTime(sequence()), refused);
});

test('a SET is no SEQUENCE', () => {
  assert.notDeepEqual(decodeDer(encodeDer(set())), sequence());
});
