import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { createCsr, verifyCsr } from '#certs/csr.ts';
import { bitString, constructed, decodeDer, derBytesMax, encodeDer, sequence, smallInteger } from '#certs/der.ts';
import { toPem } from '#certs/pem.ts';
import { algorithmIdentifier, publicKeyInfo } from '#certs/signature-algorithm.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const csr = createCsr(keys.privateKey);
const refused = { code: 'csr_invalid' };

function opensslCsr(...more: readonly string[]): Buffer {
  return execFileSync(
    'openssl',
    ['req', '-new', '-nodes', '-outform', 'DER', '-keyout', '/dev/null', '-subj', '/CN=x', ...more],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
}

test('a request proves the key that made it, and asks for no name', () => {
  const { publicKey, uriSans } = verifyCsr(csr);
  assert.equal(publicKey.equals(createPublicKey(keys.privateKey)), true);
  assert.deepEqual(uriSans, []);
});

test('openssl accepts our request', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'csr.pem');
  writeFileSync(file, toPem('CERTIFICATE REQUEST', csr));
  execFileSync('openssl', ['req', '-verify', '-noout', '-in', file], { stdio: 'pipe' });
});

test("we accept openssl's request, and read the URI SANs that it asks for", () => {
  const id = 'spiffe://cell-1.example.com/ns/a/sa/b';
  const der = opensslCsr(
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-addext',
    `subjectAltName=URI:${id},DNS:x`,
  );
  assert.deepEqual(verifyCsr(der).uriSans, [id]);
});

test('only P-256 keys are signed', () => {
  for (const more of [
    ['-newkey', 'rsa:2048'],
    ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
    ['-newkey', 'ed25519'],
    ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-pkeyopt', 'ec_param_enc:explicit'],
  ]) {
    assert.throws(() => verifyCsr(opensslCsr(...more)), refused, more.join(' '));
  }
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  assert.throws(() => verifyCsr(createCsr(p384.privateKey)), refused);
});

test("a request for somebody else's key is refused", () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const info = sequence(smallInteger(0), sequence(), publicKeyInfo(other.publicKey), constructed(0xa0));
  const signature = sign('sha256', encodeDer(info), keys.privateKey);
  assert.throws(
    () => verifyCsr(encodeDer(sequence(info, algorithmIdentifier('ecdsa-sha256'), bitString(signature)))),
    refused,
  );
});

test('every single-bit change of a request is refused', () => {
  for (let bit = 0; bit < csr.length * 8; bit++) {
    const changed = Buffer.from(csr);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(() => verifyCsr(changed), refused, `bit ${bit}`);
  }
});

test('cut, doubled, oversized and foreign requests are the typed error', () => {
  for (let length = 0; length < csr.length; length++) assert.throws(() => verifyCsr(csr.subarray(0, length)), refused);
  for (const der of [
    Buffer.concat([csr, csr]),
    Buffer.alloc(derBytesMax + 1, 0x30),
    encodeDer(sequence()),
    encodeDer(sequence(sequence(), sequence(), sequence())),
    encodeDer(decodeDer(csr).children[0]!),
  ]) {
    assert.throws(() => verifyCsr(der), refused);
  }
});
