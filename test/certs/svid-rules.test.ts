import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import test from 'node:test';
import { parseCertificate } from '#certs/certificate.ts';
import type { KeyUsage } from '#certs/certificate-extensions.ts';
import { type Der, octetString, oid, primitive, sequence, set, tags } from '#certs/der.ts';
import { oids } from '#certs/object-identifiers.ts';
import { algorithmIdentifier } from '#certs/signature-algorithm.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { SvidRejected, type SvidRule, svidRules } from '#certs/svid-rules.ts';
import { bundlesOf, type TrustBundles } from '#certs/trust-bundle.ts';
import { verifySvid } from '#certs/verify-svid.ts';
import {
  authorityExtensions,
  basicConstraints,
  extendedKeyUsage,
  extension,
  type Handmade,
  handmade,
  keyUsage,
  leafExtensions,
  nameOf,
  party,
  startMs,
  uriSans,
} from '../support/handmade-certificates.ts';

const domain = 'cell-1.example.com';
const id = `spiffe://${domain}/ns/messaging/sa/api`;
const trustDomain = parseTrustDomain(domain);
const root = party('root');
const intermediate = party('intermediate');
const second = party('second intermediate');
const stranger = party('stranger');
const workload = party('workload');
const good = leafExtensions(id);
const rootCertificate = make({
  issuer: root,
  subject: root.name,
  publicKey: root.publicKey,
  extensions: authorityExtensions(domain),
});
const bundles = bundlesFor(rootCertificate);
const hourMs = 3600_000;
const usualAuthority = authority();

function make(fields: Handmade): Buffer {
  return handmade(fields);
}

function bundlesFor(...roots: readonly Buffer[]): TrustBundles {
  return bundlesOf({ trustDomain, sequence: 1, roots: roots.map(parseCertificate) });
}

function leaf(
  fields: Partial<Handmade> = {},
  change: Partial<Record<keyof typeof good, Der | undefined>> = {},
): Buffer {
  const extensions = Object.values({ ...good, ...change }).filter((value) => value !== undefined);
  return make({ issuer: intermediate, publicKey: workload.publicKey, extensions, ...fields });
}

function authority(fields: Partial<Handmade> = {}): Buffer {
  return make({
    issuer: root,
    subject: intermediate.name,
    publicKey: intermediate.publicKey,
    extensions: authorityExtensions(domain, 0),
    ...fields,
  });
}

function leafUsing(...usages: readonly KeyUsage[]): Buffer {
  return leaf({}, { usage: keyUsage(usages) });
}

const weakKey = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
const unlistedAlgorithm = sequence(oid('1.2.840.10045.4.3.4'));

/** Each breaks one rule and keeps all others. */
const broken: readonly {
  rule: SvidRule;
  when: string;
  chain: readonly Uint8Array[];
  bundles?: TrustBundles;
  nowMs?: number;
}[] = [
  { rule: 'chain_empty', when: 'nothing is presented', chain: [] },
  {
    rule: 'chain_too_long',
    when: 'five certificates are presented',
    chain: [leaf(), authority(), authority(), authority(), authority()],
  },
  { rule: 'certificate_malformed', when: 'the leaf is garbage', chain: [Buffer.from('garbage'), authority()] },
  {
    rule: 'certificate_malformed',
    when: 'the leaf has a byte more',
    chain: [Buffer.concat([leaf(), Buffer.from([0])]), authority()],
  },
  { rule: 'certificate_malformed', when: 'the issuer is garbage', chain: [leaf(), Buffer.from('garbage')] },
  { rule: 'certificate_malformed', when: 'the leaf is version 1', chain: [leaf({ version: 0 }), authority()] },
  {
    rule: 'certificate_malformed',
    when: 'an extension comes twice',
    chain: [
      make({ issuer: intermediate, publicKey: workload.publicKey, extensions: [...Object.values(good), good.san] }),
      authority(),
    ],
  },
  {
    rule: 'certificate_malformed',
    when: 'the signature algorithm is named twice, differently',
    chain: [leaf({ outerAlgorithm: algorithmIdentifier('ecdsa-sha384') }), authority()],
  },
  {
    rule: 'uri_san_missing',
    when: 'there is no SAN',
    chain: [leaf({ subject: nameOf('x') }, { san: undefined }), authority()],
  },
  {
    rule: 'uri_san_missing',
    when: 'the SPIFFE ID is a DNS name',
    chain: [
      leaf({}, { san: extension(oids.subjectAltName, true, sequence(primitive(0x82, Buffer.from(id)))) }),
      authority(),
    ],
  },
  {
    rule: 'uri_san_multiple',
    when: 'there are two SPIFFE IDs',
    chain: [leaf({}, { san: uriSans([id, `${id}-2`]) }), authority()],
  },
  { rule: 'uri_san_multiple', when: 'one ID comes twice', chain: [leaf({}, { san: uriSans([id, id]) }), authority()] },
  {
    rule: 'uri_san_multiple',
    when: 'an https URI is beside the ID',
    chain: [leaf({}, { san: uriSans([id, 'https://a']) }), authority()],
  },
  {
    rule: 'spiffe_id_invalid',
    when: 'the URI is of another scheme',
    chain: [leaf({}, { san: uriSans(['https://a/b']) }), authority()],
  },
  {
    rule: 'spiffe_id_invalid',
    when: 'the ID has a NUL',
    chain: [leaf({}, { san: uriSans([`${id}\0.evil`]) }), authority()],
  },
  {
    rule: 'spiffe_id_invalid',
    when: 'the ID is upper case',
    chain: [leaf({}, { san: uriSans([id.toUpperCase()]) }), authority()],
  },
  {
    rule: 'spiffe_id_without_path',
    when: 'the ID has no path',
    chain: [leaf({}, { san: uriSans([`spiffe://${domain}`]) }), authority()],
  },
  {
    rule: 'san_not_critical',
    when: 'neither subject nor criticality is there',
    chain: [leaf({}, { san: uriSans([id], false) }), authority()],
  },
  { rule: 'key_usage_missing', when: 'the leaf has no KeyUsage', chain: [leaf({}, { usage: undefined }), authority()] },
  {
    rule: 'key_usage_not_critical',
    when: 'KeyUsage is not critical',
    chain: [leaf({}, { usage: keyUsage(['digitalSignature'], false) }), authority()],
  },
  {
    rule: 'digital_signature_missing',
    when: 'the leaf may only agree on keys',
    chain: [leafUsing('keyAgreement'), authority()],
  },
  {
    rule: 'leaf_cert_sign',
    when: 'the leaf may sign certificates',
    chain: [leafUsing('digitalSignature', 'keyCertSign'), authority()],
  },
  {
    rule: 'leaf_crl_sign',
    when: 'the leaf may sign revocation lists',
    chain: [leafUsing('digitalSignature', 'cRLSign'), authority()],
  },
  {
    rule: 'leaf_is_authority',
    when: 'the leaf has cA',
    chain: [leaf({}, { constraints: basicConstraints(true) }), authority()],
  },
  {
    rule: 'extended_key_usage',
    when: 'the leaf may only serve',
    chain: [leaf({}, { purposes: extendedKeyUsage(oids.serverAuth) }), authority()],
  },
  {
    rule: 'extended_key_usage',
    when: 'the leaf may only call',
    chain: [leaf({}, { purposes: extendedKeyUsage(oids.clientAuth) }), authority()],
  },
  {
    rule: 'critical_extension_unknown',
    when: 'the leaf has name constraints',
    chain: [leaf({}, { purposes: extension('2.5.29.30', true, sequence()) }), authority()],
  },
  {
    rule: 'critical_extension_unknown',
    when: 'the issuer has a private critical extension',
    chain: [
      leaf(),
      authority({
        extensions: [
          ...authorityExtensions(domain, 0),
          extension('1.3.6.1.4.1.99999.1', true, octetString(Buffer.from('x'))),
        ],
      }),
    ],
  },
  { rule: 'key_algorithm', when: 'the leaf has RSA-1024', chain: [leaf({ publicKey: weakKey }), authority()] },
  {
    rule: 'key_algorithm',
    when: 'the leaf has P-521',
    chain: [leaf({ publicKey: party('x', 'P-521').publicKey }), authority()],
  },
  {
    rule: 'key_algorithm',
    when: 'the leaf has Ed25519',
    chain: [leaf({ publicKey: generateKeyPairSync('ed25519').publicKey }), authority()],
  },
  {
    rule: 'signature_algorithm',
    when: 'the algorithm is not listed',
    chain: [leaf({ algorithm: unlistedAlgorithm }), authority()],
  },
  {
    rule: 'not_yet_valid',
    when: 'the leaf begins in a second',
    chain: [leaf({ notBefore: startMs + 1000 }), authority()],
  },
  {
    rule: 'not_yet_valid',
    when: 'the issuer begins in a second',
    chain: [leaf(), authority({ notBefore: startMs + 1000 })],
  },
  { rule: 'expired', when: 'the leaf ended a second ago', chain: [leaf({ notAfter: startMs - 1000 }), authority()] },
  { rule: 'expired', when: 'the issuer ended a second ago', chain: [leaf(), authority({ notAfter: startMs - 1000 })] },
  {
    rule: 'expired',
    when: 'the root ended, leaf and issuer did not',
    chain: [leaf(), authority()],
    bundles: bundlesFor(
      make({
        issuer: root,
        subject: root.name,
        publicKey: root.publicKey,
        extensions: authorityExtensions(domain),
        notAfter: startMs - 1000,
      }),
    ),
  },
  {
    rule: 'trust_domain_unknown',
    when: 'the leaf is of a foreign domain',
    chain: [leaf({}, { san: uriSans(['spiffe://cell-2.example.com/ns/a/sa/b']) }), authority()],
  },
  {
    rule: 'issuer_not_authority',
    when: 'a workload signs for another',
    chain: [leaf(), authority({ extensions: Object.values(leafExtensions(id)) })],
  },
  {
    rule: 'issuer_cert_sign',
    when: 'the issuer may only sign revocation lists',
    chain: [leaf(), authority({ extensions: [keyUsage(['cRLSign']), basicConstraints(true)] })],
  },
  {
    rule: 'key_usage_missing',
    when: 'the issuer has no KeyUsage',
    chain: [leaf(), authority({ extensions: [basicConstraints(true)] })],
  },
  {
    rule: 'issuer_path_length',
    when: 'the upper issuer allows nobody below',
    chain: [
      leaf(),
      authority({ issuer: second }),
      authority({ subject: second.name, publicKey: second.publicKey, extensions: authorityExtensions(domain, 0) }),
    ],
  },
  {
    rule: 'issuer_path_length',
    when: 'the root allows nobody below',
    chain: [leaf(), authority()],
    bundles: bundlesFor(
      make({ issuer: root, subject: root.name, publicKey: root.publicKey, extensions: authorityExtensions(domain, 0) }),
    ),
  },
  {
    rule: 'issuer_id',
    when: 'the issuer is of another domain',
    chain: [leaf(), authority({ extensions: authorityExtensions('example.com') })],
  },
  {
    rule: 'issuer_id',
    when: "the issuer's ID has a path",
    chain: [leaf(), authority({ extensions: [keyUsage(['keyCertSign']), basicConstraints(true), uriSans([id])] })],
  },
  {
    rule: 'uri_san_multiple',
    when: 'the issuer has two IDs',
    chain: [
      leaf(),
      authority({
        extensions: [keyUsage(['keyCertSign']), basicConstraints(true), uriSans([`spiffe://${domain}`, 'spiffe://b'])],
      }),
    ],
  },
  {
    rule: 'issuer_name',
    when: 'the next certificate is not the one that is named',
    chain: [leaf(), authority({ subject: nameOf('else') })],
  },
  {
    rule: 'signature',
    when: 'another key signed under the right name',
    chain: [leaf({ issuer: { ...intermediate, privateKey: stranger.privateKey } }), authority()],
  },
  {
    rule: 'signature',
    when: "another key signed under the root's name",
    chain: [leaf(), authority({ issuer: { ...root, privateKey: stranger.privateKey } })],
  },
  { rule: 'root_unknown', when: 'a stranger is the root', chain: [leaf(), authority({ issuer: stranger })] },
  { rule: 'root_unknown', when: 'the intermediate is missing', chain: [leaf()] },
  { rule: 'root_unknown', when: 'all roots are revoked', chain: [leaf(), authority()], bundles: bundlesFor() },
];

function ruleBroken(chain: readonly Uint8Array[], inBundles: TrustBundles, nowMs: number): SvidRule | undefined {
  try {
    verifySvid(chain, inBundles, nowMs);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof SvidRejected, String(error));
    assert.equal(error.code, 'svid_rejected');
    return error.rule;
  }
}

for (const { rule, when, chain, bundles: inBundles = bundles, nowMs = startMs } of broken) {
  test(`${rule}: refused when ${when}`, () => assert.equal(ruleBroken(chain, inBundles, nowMs), rule));
}

test('every rule in the list is broken by a case above', () => {
  const covered = new Set(broken.map(({ rule }) => rule));
  assert.deepEqual(
    Object.keys(svidRules).filter((rule) => !covered.has(rule as SvidRule)),
    [],
  );
});

const accepted: readonly { when: string; chain: readonly Uint8Array[]; bundles?: TrustBundles; nowMs?: number }[] = [
  { when: 'it keeps every rule', chain: [leaf(), authority()] },
  { when: 'the root comes along', chain: [leaf(), authority(), rootCertificate] },
  { when: 'a root signed it directly', chain: [leaf({ issuer: root })] },
  {
    when: 'it has a subject and a SAN that is not critical',
    chain: [leaf({ subject: nameOf('x') }, { san: uriSans([id], false) }), authority()],
  },
  { when: 'it has no extended key usage', chain: [leaf({}, { purposes: undefined }), authority()] },
  { when: 'it has no basic constraints', chain: [leaf({}, { constraints: undefined }), authority()] },
  { when: 'it may also agree on keys', chain: [leafUsing('digitalSignature', 'keyAgreement'), authority()] },
  { when: 'its key is P-384', chain: [leaf({ publicKey: party('x', 'P-384').publicKey }), authority()] },
  {
    when: 'its key is RSA-2048',
    chain: [leaf({ publicKey: generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey }), authority()],
  },
  {
    when: 'an unknown extension is not critical',
    chain: [leaf({}, { purposes: extension('1.2.3.4', false, set()) }), authority()],
  },
  {
    when: 'it has a DNS name beside the ID',
    chain: [
      leaf(
        {},
        {
          san: extension(
            oids.subjectAltName,
            true,
            sequence(primitive(0x82, Buffer.from('a.b')), primitive(0x86, Buffer.from(id))),
          ),
        },
      ),
      authority(),
    ],
  },
  {
    when: 'the issuer has no ID',
    chain: [leaf(), authority({ extensions: [keyUsage(['keyCertSign']), basicConstraints(true)] })],
  },
  {
    when: 'there are two issuers and the path length allows it',
    chain: [
      leaf(),
      authority({ issuer: second }),
      authority({ subject: second.name, publicKey: second.publicKey, extensions: authorityExtensions(domain, 1) }),
    ],
  },
  { when: 'this is its first second', chain: [leaf({ notBefore: startMs }), authority()] },
  { when: 'this is its last second', chain: [leaf({ notAfter: startMs }), authority()] },
  {
    when: 'what follows the trusted part is of no use',
    chain: [leaf(), authority(), make({ issuer: stranger, publicKey: stranger.publicKey })],
  },
];

for (const { when, chain, bundles: inBundles = bundles, nowMs = startMs } of accepted) {
  test(`accepted when ${when}`, () => assert.equal(ruleBroken(chain, inBundles, nowMs), undefined));
}

test('the result names the ID and the time in which the whole chain is valid', () => {
  const verified = verifySvid([leaf(), authority({ notAfter: startMs + hourMs })], bundles, startMs);
  assert.equal(verified.id, id);
  assert.equal(verified.chain.length, 2);
  assert.equal(verified.notAfter, startMs + hourMs);
  assert.equal(verified.root.der.equals(rootCertificate), true);
});

test('a root of one trust domain vouches for no other, even when both are known', () => {
  const other = parseTrustDomain('cell-2.example.com');
  const foreignRoot = make({
    issuer: stranger,
    subject: stranger.name,
    publicKey: stranger.publicKey,
    extensions: authorityExtensions(other),
  });
  const both: TrustBundles = new Map([
    ...bundles,
    [other, { trustDomain: other, sequence: 1, roots: [parseCertificate(foreignRoot)] }],
  ]);
  assert.equal(ruleBroken([leaf({ issuer: stranger })], both, startMs), 'root_unknown');
  assert.equal(
    ruleBroken([leaf({ issuer: root }, { san: uriSans([`spiffe://${other}/ns/a/sa/b`]) })], both, startMs),
    'root_unknown',
  );
  assert.equal(
    ruleBroken([leaf({ issuer: stranger }, { san: uriSans([`spiffe://${other}/ns/a/sa/b`]) })], both, startMs),
    undefined,
  );
});

test('during a rotation either root of the bundle will do', () => {
  const nextRoot = party('next root');
  const next = make({
    issuer: nextRoot,
    subject: nextRoot.name,
    publicKey: nextRoot.publicKey,
    extensions: authorityExtensions(domain),
  });
  const both = bundlesFor(rootCertificate, next);
  assert.equal(ruleBroken([leaf(), authority()], both, startMs), undefined);
  assert.equal(ruleBroken([leaf(), authority({ issuer: nextRoot })], both, startMs), undefined);
  assert.equal(ruleBroken([leaf(), authority()], bundlesFor(next), startMs), 'root_unknown');
});

test('a cross-signed root reaches those that know only the old one', () => {
  const nextRoot = party('next root');
  const crossSigned = authority({
    subject: nextRoot.name,
    publicKey: nextRoot.publicKey,
    extensions: authorityExtensions(domain),
  });
  const chain = [leaf(), authority({ issuer: nextRoot }), crossSigned];
  assert.equal(ruleBroken(chain, bundles, startMs), undefined);
  const next = make({
    issuer: nextRoot,
    subject: nextRoot.name,
    publicKey: nextRoot.publicKey,
    extensions: authorityExtensions(domain),
  });
  assert.equal(ruleBroken(chain, bundlesFor(next), startMs), undefined);
});

test('every single-bit change of a leaf is refused with a rule', () => {
  const original = leaf();
  const issuer = authority();
  for (let bit = 0; bit < original.length * 8; bit++) {
    const changed = Buffer.from(original);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.notEqual(ruleBroken([changed, issuer], bundles, startMs), undefined, `bit ${bit}`);
  }
});

test('mutated chains: only the typed error escapes, in bounded time', () => {
  const original = leaf();
  const started = performance.now();
  for (let round = 0; round < 1500; round++) {
    const start = (round * 7919) % original.length;
    const length = round % 17;
    const insert = Buffer.alloc((round * 31) % 23, round & 0xff);
    const changed = Buffer.concat([original.subarray(0, start), insert, original.subarray(start + length)]);
    if (!changed.equals(original)) assert.notEqual(ruleBroken([changed, usualAuthority], bundles, startMs), undefined);
  }
  assert.ok(performance.now() - started < 10_000);
});

test('a NUL, a null tag and other odd parts in a certificate are the typed error', () => {
  for (const odd of [primitive(tags.null, Buffer.alloc(0)), sequence(), set(), octetString(Buffer.alloc(0))]) {
    for (const key of ['usage', 'purposes', 'constraints', 'san'] as const) {
      const id = {
        usage: oids.keyUsage,
        purposes: oids.extendedKeyUsage,
        constraints: oids.basicConstraints,
        san: oids.subjectAltName,
      }[key];
      const rule = ruleBroken(
        [leaf({ subject: nameOf('x') }, { [key]: extension(id, true, odd) }), usualAuthority],
        bundles,
        startMs,
      );
      if (!(key === 'constraints' && odd.tag === tags.sequence)) assert.notEqual(rule, undefined, `${key} ${odd.tag}`);
    }
  }
});
