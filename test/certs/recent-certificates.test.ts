import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseCertificate } from '#certs/certificate.ts';
import { RecentCertificates, recentCertificatesMax } from '#certs/recent-certificates.ts';
import { workloadId } from '#certs/spiffe-id.ts';
import { SvidRejected } from '#certs/svid-rules.ts';
import { bundlesOf } from '#certs/trust-bundle.ts';
import { verifySvid } from '#certs/verify-svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { type TestAuthority, testAuthority } from '../support/test-authority.ts';

async function chainOf({ trustDomain, issue }: TestAuthority) {
  const { chain } = await issue(workloadId(trustDomain, 'a', 'b'));
  return chain.map(({ der }) => der);
}

const isBroken = (rule: string) => (error: unknown) => error instanceof SvidRejected && error.rule === rule;

describe('certificates that were verified', () => {
  test('are not parsed again, wherever their bytes lie', async () => {
    const authority = await testAuthority(systemClock);
    const chain = await chainOf(authority);
    const first = verifySvid(chain, authority.bundles, systemClock.now());
    const again = verifySvid(
      chain.map((der) => Buffer.from(der)),
      authority.bundles,
      systemClock.now(),
    );
    assert.equal(again.leaf, first.leaf);
  });

  test('are held against the time and against the bundles as if they were new', async () => {
    const authority = await testAuthority(systemClock);
    const other = await testAuthority(systemClock);
    const chain = await chainOf(authority);
    const { notAfter } = verifySvid(chain, authority.bundles, systemClock.now());
    assert.throws(() => verifySvid(chain, authority.bundles, notAfter + 1000), isBroken('expired'));
    assert.throws(() => verifySvid(chain, other.bundles, systemClock.now()), isBroken('root_unknown'));
    assert.throws(() => verifySvid(chain, bundlesOf(), systemClock.now()), isBroken('trust_domain_unknown'));
  });

  test('are not pushed out by such as nobody vouches for', async () => {
    const authority = await testAuthority(systemClock);
    const stranger = await testAuthority(systemClock);
    const chain = await chainOf(authority);
    const { leaf } = verifySvid(chain, authority.bundles, systemClock.now());
    for (let i = 0; i <= recentCertificatesMax; i++) {
      const unknown = await chainOf(stranger);
      assert.throws(() => verifySvid(unknown, authority.bundles, systemClock.now()), isBroken('root_unknown'));
    }
    assert.equal(verifySvid(chain, authority.bundles, systemClock.now()).leaf, leaf);
  });

  test('are kept within a bound, those that were seen last', async () => {
    const authority = await testAuthority(systemClock);
    const certificates = await Promise.all(
      Array.from({ length: recentCertificatesMax + 1 }, async () => parseCertificate((await chainOf(authority))[0]!)),
    );
    const recent = new RecentCertificates();
    recent.remember(certificates.slice(0, recentCertificatesMax));
    recent.remember([certificates[0]!]);
    recent.remember([certificates.at(-1)!]);
    assert.equal(recent.size, recentCertificatesMax);
    assert.equal(recent.parse(certificates[0]!.der), certificates[0]);
    assert.notEqual(recent.parse(certificates[1]!.der), certificates[1]);
  });
});
