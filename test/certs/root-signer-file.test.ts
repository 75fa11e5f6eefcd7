import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { openRootSigner, rootFileName, rootLifetimeMs, rootSignerFromFiles } from '#certs/root-signer-file.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { verifyChain } from '#certs/verify-svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority } from '../support/test-authority.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');
const options = { trustDomain, clock: new FakeClock(), random: systemRandom };

test('the first start makes a root of ten years, mode 0600, and the second takes it up', async () => {
  await using directory = await temporaryDirectory();
  const first = await openRootSigner(directory.path, options);
  assert.equal(first.certificate.notAfter, options.clock.now() + rootLifetimeMs);
  assert.equal(statSync(join(directory.path, rootFileName)).mode & 0o777, 0o600);
  const second = await openRootSigner(directory.path, options);
  assert.deepEqual(second.certificate.der, first.certificate.der);
  assert.deepEqual(readdirSync(directory.path), [rootFileName]);
});

test('processes that start at once end up with one root', async () => {
  await using directory = await temporaryDirectory();
  const signers = await Promise.all(Array.from({ length: 8 }, () => openRootSigner(directory.path, options)));
  assert.equal(new Set(signers.map(({ certificate }) => certificate.serial)).size, 1);
});

test('a key that others can read is refused, and the message says what to do', async () => {
  await using directory = await temporaryDirectory();
  await openRootSigner(directory.path, options);
  const file = join(directory.path, rootFileName);
  for (const mode of [0o640, 0o604, 0o660, 0o601]) {
    chmodSync(file, mode);
    await assert.rejects(openRootSigner(directory.path, options), { code: 'key_permissions', message: /chmod 600/ });
  }
  chmodSync(file, 0o400);
  await openRootSigner(directory.path, options);
});

test('a root of another trust domain is refused', async () => {
  await using directory = await temporaryDirectory();
  await openRootSigner(directory.path, options);
  const other = { ...options, trustDomain: parseTrustDomain('cell-2.example.com') };
  await assert.rejects(openRootSigner(directory.path, other), { code: 'svid_not_issued' });
});

test('a file that holds no key is a clear error that does not quote it', async () => {
  await using directory = await temporaryDirectory();
  writeFileSync(join(directory.path, rootFileName), 'my secret', { mode: 0o600 });
  await assert.rejects(openRootSigner(directory.path, options), (error: Error & { code: string }) => {
    assert.equal(error.code, 'file_unreadable');
    assert.doesNotMatch(error.message, /my secret/);
    return true;
  });
});

for (const [kind, ...key] of [
  ['P-256', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  ['P-384', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-sha384'],
  ['RSA', 'rsa:3072'],
] as const) {
  test(`an operator's own ${kind} root made with openssl issues SVIDs`, async () => {
    await using directory = await temporaryDirectory();
    const keyFile = join(directory.path, 'key.pem');
    const certificateFile = join(directory.path, 'root.pem');
    openssl('req', '-x509', '-nodes', '-newkey', ...key, '-keyout', keyFile, '-out', certificateFile, ...operatorRoot);
    chmodSync(keyFile, 0o600);
    const rootSigner = await rootSignerFromFiles({ keyFile, certificateFile, trustDomain });
    const { issue, bundles } = await testAuthority(systemClock, trustDomain, { rootSigner });
    const svid = await issue(workloadId(trustDomain, 'messaging', 'api'));
    assert.equal(verifyChain(svid.chain, bundles, Date.now()).root.der.equals(rootSigner.certificate.der), true);
  });
}

test("an operator's certificate that is no authority, or whose key is another, is refused", async () => {
  await using directory = await temporaryDirectory();
  const path = (name: string) => join(directory.path, name);
  for (const name of ['a', 'b']) {
    openssl(
      'req',
      '-x509',
      '-nodes',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-keyout',
      path(`${name}.key`),
      '-out',
      path(`${name}.pem`),
      ...operatorRoot,
    );
    chmodSync(path(`${name}.key`), 0o600);
  }
  const swapped = { keyFile: path('a.key'), certificateFile: path('b.pem'), trustDomain };
  await assert.rejects(rootSignerFromFiles(swapped), { code: 'svid_not_issued' });
  openssl(
    'req',
    '-x509',
    '-key',
    path('a.key'),
    '-out',
    path('leaf.pem'),
    '-subj',
    '/CN=x',
    '-addext',
    'basicConstraints=critical,CA:FALSE',
    '-addext',
    'keyUsage=critical,digitalSignature',
  );
  const leaf = { keyFile: path('a.key'), certificateFile: path('leaf.pem'), trustDomain };
  await assert.rejects(rootSignerFromFiles(leaf), { code: 'svid_not_issued', message: /issuer_not_authority/ });
  assert.match(readFileSync(path('a.key'), 'utf8'), /PRIVATE KEY/);
});

const operatorRoot = [
  '-days',
  '30',
  '-subj',
  '/O=Operator/CN=Root',
  '-addext',
  'keyUsage=critical,keyCertSign,cRLSign',
];

function openssl(...words: readonly string[]): void {
  execFileSync('openssl', words, { stdio: 'pipe' });
}
