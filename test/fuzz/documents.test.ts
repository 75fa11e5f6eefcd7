import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createCsr } from '#certs/csr.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { serializeTrustBundle } from '#certs/trust-bundle.ts';
import { serializeEndpoints } from '#net/endpoints.ts';
import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { compileCell } from '#policy/compile.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { serializeRoutes } from '#policy/routes.ts';
import { serializePolicySnapshot } from '#policy/snapshot.ts';
import { systemClock } from '#runtime/clock.ts';
import { KeySet, serializeKeySet } from '#tokens/key-set.ts';
import { generateSigningKey } from '#tokens/signing-key.ts';
import { mintTestToken } from '../support/mint-test-token.ts';
import { testAuthority } from '../support/test-authority.ts';
import { fuzzCount, fuzzSeed } from './budget.ts';
import { feedCertificates } from './certificates.ts';
import { feedCases, feedDocuments } from './documents.ts';
import { feedJsonDocuments } from './json-documents.ts';
import { Mutator } from './mutate.ts';

/** Inputs a target. */
const count = fuzzCount(3_000);

const policyDir = join(import.meta.dirname, '../../examples/messaging/policy');
const manifests = ['api', 'carrier', 'cell', 'delivery', 'messaging', 'store'].map((name) =>
  readFileSync(join(policyDir, `${name}.yaml`), 'latin1'),
);

const tests = ['api', 'delivery', 'messaging', 'store'].map((name) =>
  readFileSync(join(policyDir, `${name}.test.yaml`), 'latin1'),
);
const policies = CellAtHand.read(new Map(manifests.map((text, at) => [`${at}.yaml`, text])));

async function certificates(): Promise<string[]> {
  const { authority, issue } = await testAuthority(systemClock, 'cell-1.example');
  const svid = await issue(workloadId(parseTrustDomain('cell-1.example'), 'a', 'b'));
  const csr = createCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  const ders = [...svid.chain.map(({ der }) => der), ...authority.bundle.current.roots.map(({ der }) => der), csr];
  return ders.map((der) => Buffer.from(der).toString('latin1'));
}

async function jsonDocuments(): Promise<string[]> {
  const { authority } = await testAuthority(systemClock, 'cell-1.example');
  const { cells, policies } = readDocuments(manifests.join('\n---\n'), 'example.yaml');
  const { snapshots, routes } = compileCell(cells[0]!, policies);
  const key = generateSigningKey({ iss: 'https://identity.example', kind: 'cell' });
  const [id] = snapshots.keys();
  return [
    serializeTrustBundle(authority.bundle.current),
    ...[...snapshots.values()].map(serializePolicySnapshot),
    serializeRoutes(routes),
    serializeKeySet(new KeySet([key.published])),
    serializeEndpoints(new Map([[id!, [{ host: '::1', port: 1, locality: 'a', weight: 1 }]]])),
    await mintTestToken(key, {}),
  ];
}

for (const [name, seedsOf, feed] of [
  ['manifest', () => manifests, feedDocuments],
  ['policy test', () => tests, (bytes: Uint8Array) => feedCases(bytes, policies)],
  ['certificate', certificates, feedCertificates],
  ['feed document', jsonDocuments, feedJsonDocuments],
] as const) {
  test(`${count} mutated inputs of the ${name} parser, seed ${fuzzSeed}: only typed errors`, async () => {
    const mutator = new Mutator(await seedsOf(), fuzzSeed);
    for (let i = 0; i < count; i++) feed(mutator.next());
  });
}

describe('a file that is made to hurt', () => {
  for (const [what, text] of [
    ['a million brackets', '['.repeat(1_000_000)],
    ['nested lists', '- '.repeat(100_000)],
    ['references that double (billion laughs)', 'a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n'],
    ['a map without a key', '? \n: a\n'],
    ['a map as a key', '{ { a: b }: c }'],
    ['a hundred thousand keys', Array.from({ length: 100_000 }, (_, i) => `k${i}: 1`).join('\n')],
    ['the same key twice', 'kind: Cell\nkind: ServicePolicy\n'],
    ['__proto__ as a key', 'kind: Cell\n__proto__: { polluted: true }\n'],
    ['five megabytes', `a: ${'x'.repeat(5 * 1024 * 1024)}`],
    ['a tag', 'kind: !!js/function "x"\n'],
  ] as const) {
    test(`is refused with a place: ${what}`, { timeout: 20_000 }, () => {
      assert.throws(() => readDocuments(text, 'fuzz.yaml'), {
        code: 'document_invalid',
        message: /^fuzz\.yaml:\d+:\d+: /,
      });
      assert.equal(({} as { polluted?: unknown }).polluted, undefined);
    });
  }
});
