import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { before, describe, test } from 'node:test';
import { inspect } from 'node:util';
import { openWebCertificate } from '#certs/web-certificate.ts';
import { execCredentialBytesMax, readExecCredential } from '#cli/kube/exec-credential.ts';
import { systemClock } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import { systemRandom } from '#runtime/random.ts';
import { Mutator } from '../../fuzz/mutate.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const apiVersion = 'client.authentication.k8s.io/v1';
const credential = (status: unknown, fields: object = {}) =>
  JSON.stringify({ apiVersion, kind: 'ExecCredential', spec: {}, ...fields, status });
const read = (text: string) => readExecCredential(text, apiVersion);

async function certificateWithKey() {
  await using directory = await temporaryDirectory();
  const where = { directory: directory.path, names: ['me'], addresses: [] };
  const files = await openWebCertificate({ ...where, clock: systemClock, random: systemRandom });
  return [await readFile(files.certificateFile, 'utf8'), await readFile(files.keyFile, 'utf8')] as const;
}

describe('an ExecCredential', () => {
  let pem: { readonly clientCertificateData: string; readonly clientKeyData: string };
  let otherKey: string;
  before(async () => {
    const [[clientCertificateData, clientKeyData], [, other]] = [
      await certificateWithKey(),
      await certificateWithKey(),
    ];
    pem = { clientCertificateData, clientKeyData };
    otherKey = other;
  });

  test('has a token, a client certificate or both, and an end', () => {
    const both = read(
      credential({ ...pem, token: 'k8s-aws-v1.aGk_', expirationTimestamp: '2026-01-01T01:00:00+01:00' }),
    );
    assert.equal(both.token?.reveal(), 'k8s-aws-v1.aGk_');
    assert.equal(both.certificate?.chain, pem.clientCertificateData);
    assert.equal(both.certificate?.key.reveal(), pem.clientKeyData);
    assert.equal(both.expiresAtMs, Date.UTC(2026, 0, 1));
    assert.doesNotMatch(inspect(both, { depth: 9 }), /k8s-aws|PRIVATE KEY/);
    const token = read(
      credential({ token: 'a', clientKeyData: '', clientCertificateData: null, expirationTimestamp: null }),
    );
    assert.deepEqual(Object.keys(token), ['token']);
    assert.deepEqual(Object.keys(read(credential(pem))), ['certificate']);
  });

  const token = 'sEcReT';
  const refusals: Readonly<Record<string, readonly [() => string, RegExp]>> = {
    'of another version': [
      () => credential({ token }, { apiVersion: 'client.authentication.k8s.io/v1beta1' }),
      /not of client\.authentication\.k8s\.io\/v1$/,
    ],
    'of another kind': [() => credential({ token }, { kind: 'Secret' }), /no ExecCredential/],
    'that is a list': [() => `[${credential({ token })}]`, /no ExecCredential/],
    twice: [() => credential({ token }).repeat(2), /no JSON/],
    'without a status': [() => credential(undefined), /without a token and without/],
    'with nothing in it': [() => credential({ token: '' }), /without a token and without/],
    'with a token of two lines': [() => credential({ token: `${token}\r\nx-admin: 1` }), /no bearer token/],
    'with a number as a token': [() => credential({ token: 1 }), /a `token` that is no text/],
    'with a certificate alone': [() => credential({ ...pem, clientKeyData: '' }), /one of .* without the other/],
    'with a key alone': [() => credential({ ...pem, clientCertificateData: null }), /one of .* without the other/],
    'with the key of another': [() => credential({ ...pem, clientKeyData: otherKey }), /no certificate with its key/],
    'with a certificate that is none': [
      () => credential({ ...pem, clientCertificateData: token }),
      /no certificate with/,
    ],
    'that ends at no time': [() => credential({ token, expirationTimestamp: 'tomorrow' }), /no time of RFC 3339/],
    'that ends on a 32nd': [() => credential({ token, expirationTimestamp: '2026-01-32T00:00:00Z' }), /no time of RFC/],
    'that ends at a number': [() => credential({ token, expirationTimestamp: 1 }), /is no text/],
    'that is one byte too long': [() => credential({ token }).padEnd(execCredentialBytesMax + 1), /more than 262144/],
  };
  for (const [which, [text, reason]] of Object.entries(refusals)) {
    test(`${which} is refused, and not shown`, () => {
      const isMeant = (error: Error) =>
        reason.test(error.message) && !/sEcReT|PRIVATE/.test(inspect(error, { depth: 9 }));
      assert.throws(() => read(text()), isMeant);
    });
  }

  test('may be as long as that', () => {
    assert.equal(read(credential({ token }).padEnd(execCredentialBytesMax)).token?.reveal(), token);
  });

  test('whatever its bytes are, is read as something that fits into a header or refused in words of ours', () => {
    const whole = credential({ ...pem, token, expirationTimestamp: '2026-01-01T00:00:00Z' });
    const mutator = new Mutator([credential({ token, expirationTimestamp: '2026-01-01T00:00:00Z' }), whole], 11);
    let good = 0;
    for (let count = 0; count < 3_000; count++) {
      try {
        const made = read(mutator.next().toString('utf8'));
        assert.ok(made.token !== undefined || made.certificate !== undefined);
        if (made.token !== undefined) assert.match(made.token.reveal(), /^[\w.~+/=-]+$/);
        assert.ok(made.expiresAtMs === undefined || Number.isFinite(made.expiresAtMs));
        good += 1;
      } catch (error) {
        assert.match(messageOf(error), /^(no|an?|one of|more than|`clientCertificateData`) [^\n]{1,120}$/);
        assert.doesNotMatch(messageOf(error), /sEcReT/);
      }
    }
    assert.ok(good > 0 && good < 3_000, String(good));
  });
});
