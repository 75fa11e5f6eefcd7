import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { rootSignerFromFiles } from '#certs/root-signer-file.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { verifyChain } from '#certs/verify-svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority } from '../support/test-authority.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');

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
