import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { duplicateMember } from '#certs/json-duplicates.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { bundleBytesMax, bundleRootsMax, parseTrustBundle, serializeTrustBundle } from '#certs/trust-bundle.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { testAuthority, testRoot } from '../support/test-authority.ts';

const clock = new FakeClock();
const trustDomain = parseTrustDomain('cell-1.example.com');
const roots = await Promise.all(Array.from({ length: bundleRootsMax + 1 }, () => testRoot(clock, trustDomain)));
const certificates = roots.map(({ certificate }) => certificate);
const text = serializeTrustBundle({ trustDomain, sequence: 7, roots: certificates.slice(0, 2) });
const refused = { code: 'trust_bundle_invalid' };

type Key = Record<string, unknown>;
function changed(change: (document: { spiffe_sequence: unknown; keys: Key[] }) => void): string {
  const document = JSON.parse(text);
  change(document);
  return JSON.stringify(document);
}

test('a bundle comes back as it was written, with sequence and several roots', () => {
  const bundle = parseTrustBundle(text, trustDomain);
  assert.equal(bundle.sequence, 7);
  assert.equal(bundle.trustDomain, trustDomain);
  assert.deepEqual(
    bundle.roots.map(({ der }) => der.toString('hex')),
    certificates.slice(0, 2).map(({ der }) => der.toString('hex')),
  );
  assert.equal(serializeTrustBundle(bundle), text);
});

test('the document is the one of the SPIFFE standard', () => {
  const document = JSON.parse(text);
  assert.equal(document.spiffe_sequence, 7);
  for (const key of document.keys) {
    assert.deepEqual(Object.keys(key).sort(), ['crv', 'kty', 'use', 'x', 'x5c', 'y']);
    assert.equal(key.use, 'x509-svid');
    assert.equal(key.x5c.length, 1);
  }
});

test('an empty bundle is legal and trusts nobody', () => {
  assert.deepEqual(parseTrustBundle('{"keys":[]}', trustDomain).roots, []);
});

test('entries of another use or key type are ignored', () => {
  const json = changed((document) =>
    document.keys.push({ use: 'jwt-svid', kty: 'EC', kid: 'a' }, { use: 'x509-svid', kty: 'XX' }, { kty: 'EC' }),
  );
  assert.equal(parseTrustBundle(json, trustDomain).roots.length, 2);
});

for (const [why, json] of [
  ['it is not JSON', '{'],
  ['it is a list', '[]'],
  ['it has no keys', '{}'],
  ['keys is an object', '{"keys":{}}'],
  ['a key is null', '{"keys":[null]}'],
  ['the sequence is a text', changed((d) => (d.spiffe_sequence = '7'))],
  ['the sequence is negative', changed((d) => (d.spiffe_sequence = -1))],
  ['the sequence is beyond 2^53', text.replace('"spiffe_sequence":7', '"spiffe_sequence":9007199254740993')],
  ['x5c is missing', changed((d) => delete d.keys[0]!['x5c'])],
  [
    'x5c has two certificates',
    changed((d) => (d.keys[0]!['x5c'] = [...(d.keys[0]!['x5c'] as string[]), ...(d.keys[1]!['x5c'] as string[])])),
  ],
  ['x5c is not base64', changed((d) => (d.keys[0]!['x5c'] = ['@@@']))],
  ['x5c is no certificate', changed((d) => (d.keys[0]!['x5c'] = ['AAAA']))],
  ['an X.509 entry has a kid', changed((d) => (d.keys[0]!['kid'] = 'a'))],
  ['an entry has a private key', changed((d) => (d.keys[0]!['d'] = 'a'))],
  ['the key is not the one of the certificate', changed((d) => (d.keys[0]!['x'] = d.keys[1]!['x']))],
  ['a root comes twice', changed((d) => (d.keys[1] = d.keys[0]!))],
  ['a member comes twice', text.replace('{"spiffe_sequence":7', '{"spiffe_sequence":7,"keys":[]')],
  ['a member comes twice, spelled with an escape', text.replace('"use":', '"us\\u0065":"jwt-svid","use":')],
] as const) {
  test(`refused because ${why}`, () => assert.throws(() => parseTrustBundle(json, trustDomain), refused));
}

test('32 roots are accepted, 33 refused; so is a document that is too long', () => {
  const withRoots = (count: number) =>
    serializeTrustBundle({ trustDomain, sequence: 1, roots: certificates.slice(0, count) });
  assert.equal(parseTrustBundle(withRoots(bundleRootsMax), trustDomain).roots.length, bundleRootsMax);
  assert.throws(() => parseTrustBundle(withRoots(bundleRootsMax + 1), trustDomain), refused);
  assert.equal(parseTrustBundle(text.padEnd(bundleBytesMax), trustDomain).roots.length, 2);
  assert.throws(() => parseTrustBundle(text.padEnd(bundleBytesMax + 1), trustDomain), refused);
});

test('a bundle of another trust domain, and one of workloads, are refused', async () => {
  assert.throws(() => parseTrustBundle(text, parseTrustDomain('cell-2.example.com')), refused);
  const { issue } = await testAuthority(clock);
  const svid = await issue('spiffe://cell-1.example.com/ns/a/sa/b' as never);
  assert.throws(
    () =>
      parseTrustBundle(serializeTrustBundle({ trustDomain, sequence: 1, roots: svid.chain.slice(0, 1) }), trustDomain),
    refused,
  );
});

test('any JSON gives a bundle or the typed error', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json(),
        fc.string(),
        fc.json().map((value) => `{"keys":[${value}]}`),
      ),
      (json) => {
        try {
          parseTrustBundle(json, trustDomain);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'trust_bundle_invalid', String(error));
        }
      },
    ),
  );
});

test('a duplicate member is found at any depth, an equal name in another object is none', () => {
  assert.equal(duplicateMember('{"a":{"b":[{"c":1,"c":2}]}}'), 'c');
  assert.equal(duplicateMember('{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}'), undefined);
  assert.equal(duplicateMember('{"a":"a\\": {\\"a","b":"{}"}'), undefined);
  fc.assert(fc.property(fc.json(), (json) => assert.equal(duplicateMember(json), undefined)));
});
