import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { svidLifetimeMs } from '#certs/authority.ts';
import { intermediateLifetimeMs } from '#certs/intermediate.ts';
import { toPem } from '#certs/pem.ts';
import type { RootSigner } from '#certs/root-signer.ts';
import { backdateMs } from '#certs/roots.ts';
import { parseSpiffeId, parseTrustDomain, trustDomainId, workloadId } from '#certs/spiffe-id.ts';
import { chainPem } from '#certs/svid.ts';
import { bundlesOf } from '#certs/trust-bundle.ts';
import { verifyChain, verifySvid } from '#certs/verify-svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority, testRoot } from '../support/test-authority.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');
const id = workloadId(trustDomain, 'messaging', 'api');
const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

test('an SVID is issued for 12 hours, back-dated by 2 minutes, below an intermediate of 7 days, and keeps every rule', async () => {
  const clock = new FakeClock();
  const { authority, bundles } = await testAuthority(clock);
  const issued = await authority.issue({ id, publicKey });
  const verified = verifySvid(issued.chainDer, bundles, clock.now());
  assert.equal(verified.id, id);
  assert.equal(issued.notBefore, clock.now() - backdateMs);
  assert.equal(issued.notAfter, clock.now() + svidLifetimeMs);
  assert.equal(authority.intermediate.notAfter, clock.now() + intermediateLifetimeMs);
  assert.equal(issued.chainDer.length, 2);
  assert.equal(verified.leaf.hasSubject, false);
  assert.deepEqual(authority.intermediate.uriSans, [trustDomainId(trustDomain)]);
});

test('serial numbers are positive, of at least 128 bits, and differ', async () => {
  const { authority } = await testAuthority(new FakeClock());
  const serials = await Promise.all(
    Array.from({ length: 50 }, async () => (await authority.issue({ id, publicKey })).serial),
  );
  assert.equal(new Set(serials).size, 50);
  for (const serial of serials) assert.match(serial, /^[4-7][0-9a-f]{37}$/);
});

test('openssl verifies what is issued, strictly', async () => {
  await using directory = await temporaryDirectory();
  const { authority, bundles, issue } = await testAuthority(systemClock);
  const svid = await issue(id);
  const file = (name: string, text: string) => {
    writeFileSync(join(directory.path, name), text);
    return join(directory.path, name);
  };
  const root = file('root.pem', toPem('CERTIFICATE', bundles.get(trustDomain)!.roots[0]!.der));
  const untrusted = file('intermediate.pem', toPem('CERTIFICATE', authority.intermediate.der));
  const leaf = file('leaf.pem', chainPem(svid.chain.slice(0, 1)));
  for (const purpose of ['sslserver', 'sslclient']) {
    const words = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', root, '-untrusted', untrusted, leaf];
    assert.match(execFileSync('openssl', words, { encoding: 'utf8' }), /OK/);
  }
});

test('openssl takes the certificate of a server for its name and for serving, and for nothing else', async () => {
  await using directory = await temporaryDirectory();
  const { authority, bundles } = await testAuthority(systemClock);
  const lifetimeMs = 3 * 24 * 3600_000;
  const { chain, notAfter } = await authority.issueServer({ names: ['a.b.svc'], publicKey, lifetimeMs });
  // Longer than SVIDs live, and never past the intermediate.
  assert.ok(notAfter > systemClock.now() + 0.9 * lifetimeMs);
  const past = await authority.issueServer({ names: ['a.b.svc'], publicKey, lifetimeMs: 2 * intermediateLifetimeMs });
  assert.equal(past.notAfter, authority.intermediate.notAfter);
  const file = (name: string, text: string) => {
    writeFileSync(join(directory.path, name), text);
    return join(directory.path, name);
  };
  const root = file('root.pem', toPem('CERTIFICATE', bundles.get(trustDomain)!.roots[0]!.der));
  const [leaf, untrusted] = chain.map(({ der }, index) => file(`${index}.pem`, toPem('CERTIFICATE', der)));
  const verify = (purpose: string, name: string) =>
    spawnSync(
      'openssl',
      ['verify', '-x509_strict', '-purpose', purpose, '-verify_hostname', name].concat([
        '-CAfile',
        root,
        '-untrusted',
        untrusted!,
        leaf!,
      ]),
      { encoding: 'utf8' },
    );
  assert.match(verify('sslserver', 'a.b.svc').stdout, /OK/);
  assert.match(verify('sslserver', 'b.svc').stderr, /hostname mismatch/);
  assert.match(verify('sslclient', 'a.b.svc').stderr, /unsuitable certificate purpose/);
  assert.throws(() => verifyChain(chain, bundles, systemClock.now()), { rule: 'uri_san_missing' });
});

test('nothing is issued for another domain, for the authority itself, or for another kind of key', async () => {
  const { authority } = await testAuthority(new FakeClock());
  const refused = { code: 'svid_not_issued' };
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
  await assert.rejects(
    authority.issue({ id: parseSpiffeId('spiffe://cell-2.example.com/ns/a/sa/b'), publicKey }),
    refused,
  );
  await assert.rejects(authority.issue({ id: trustDomainId(trustDomain), publicKey }), refused);
  await assert.rejects(authority.issue({ id, publicKey: p384 }), refused);
  for (const lifetimeMs of [0, -1, Number.NaN])
    await assert.rejects(authority.issue({ id, publicKey, lifetimeMs }), refused);
});

test('a lifetime may be shorter than the usual one, never longer', async () => {
  const clock = new FakeClock();
  const { authority } = await testAuthority(clock);
  assert.equal((await authority.issue({ id, publicKey, lifetimeMs: 60_000 })).notAfter, clock.now() + 60_000);
  assert.equal(
    (await authority.issue({ id, publicKey, lifetimeMs: svidLifetimeMs * 9 })).notAfter,
    clock.now() + svidLifetimeMs,
  );
});

test('no SVID outlives what it is signed with, and nothing is signed after the end of the root', async () => {
  const clock = new FakeClock();
  const rootLifetimeMs = 24 * 3600_000;
  const { authority, rootSigner, bundles } = await testAuthority(clock, trustDomain, { rootLifetimeMs });
  const rootEnds = rootSigner.certificate.notAfter;
  assert.equal(authority.intermediate.notAfter, rootEnds);
  await clock.advance(rootLifetimeMs - 3600_000);
  const issued = await authority.issue({ id, publicKey });
  assert.equal(issued.notAfter, rootEnds);
  verifySvid(issued.chainDer, bundles, rootEnds);
  await clock.advance(3600_000 + 1000);
  await assert.rejects(authority.issue({ id, publicKey }), { code: 'svid_not_issued' });
});

test('the intermediate is replaced by itself after half of its life, once for many callers, and old SVIDs go on', async () => {
  const clock = new FakeClock();
  const halfLife = clock.now() + (intermediateLifetimeMs - backdateMs) / 2;
  const root = await testRoot(clock, trustDomain);
  let signatures = 0;
  const sign = (bytes: Buffer) => {
    signatures++;
    return root.sign(bytes);
  };
  const rootSigner: RootSigner = { certificate: root.certificate, sign };
  const { authority, issue, bundles } = await testAuthority(clock, trustDomain, { rootSigner });
  await clock.advance(intermediateLifetimeMs / 2 - 3600_000);
  const old = await issue(id);
  assert.equal(signatures, 1);
  await clock.advance(2 * 3600_000);
  const issued = await Promise.all([issue(id), issue(id), issue(id)]);
  assert.equal(signatures, 2);
  for (const svid of [old, ...issued]) verifyChain(svid.chain, bundles, clock.now());
  assert.equal(authority.intermediate.notAfter, halfLife + intermediateLifetimeMs);
});

test('while the root cannot be asked, the intermediate in hand signs until its end', async () => {
  const clock = new FakeClock();
  const root = await testRoot(clock, trustDomain);
  let isAway = false;
  const sign = (bytes: Buffer) => (isAway ? Promise.reject(new Error('KMS is away')) : root.sign(bytes));
  const { issue, authority } = await testAuthority(clock, trustDomain, {
    rootSigner: { certificate: root.certificate, sign },
  });
  isAway = true;
  await clock.advance(intermediateLifetimeMs - 3600_000);
  assert.equal((await issue(id)).chain[0]!.notAfter, authority.intermediate.notAfter);
  await clock.advance(3600_000 + 1000);
  await assert.rejects(issue(id), /KMS is away/);
  isAway = false;
  await issue(id);
});

test('once the leader has not answered nobody waits for it any more, while the intermediate in hand is good', async () => {
  const clock = new FakeClock();
  const root = await testRoot(clock, trustDomain);
  const unanswered: PromiseWithResolvers<never>[] = [];
  let isAway = false;
  const sign = (bytes: Buffer) => {
    if (!isAway) return root.sign(bytes);
    const asked = Promise.withResolvers<never>();
    unanswered.push(asked);
    return asked.promise;
  };
  const { issue, authority } = await testAuthority(clock, trustDomain, {
    rootSigner: { certificate: root.certificate, sign },
  });
  const first = authority.intermediate;
  isAway = true;
  await clock.advance(intermediateLifetimeMs / 2);
  assert.equal(unanswered.length, 1);
  let isIssued = false;
  const waiting = issue(id).then(() => {
    isIssued = true;
  });
  await clock.advance(9_000);
  assert.equal(isIssued, false, 'the first one waits');
  unanswered[0]!.reject(new Error('nobody answers'));
  await waiting;

  for (const _ of [1, 2, 3]) await issue(id);
  assert.equal(unanswered.length, 1);
  await clock.advance(60_000);
  assert.equal(unanswered.length, 2, 'it is asked again');
  await issue(id);
  assert.equal(authority.intermediate, first);
  isAway = false;
  unanswered[1]!.reject(new Error('nobody answers'));
  await clock.advance(60_000);
  assert.notEqual(authority.intermediate, first);
});

test('a root that cannot be one for the trust domain is refused at the start', async () => {
  const clock = new FakeClock();
  const foreign = await testRoot(clock, parseTrustDomain('cell-2.example.com'));
  await assert.rejects(testAuthority(clock, trustDomain, { rootSigner: foreign }), { code: 'svid_not_issued' });
  const expired = await testRoot(clock, trustDomain, 3600_000);
  await clock.advance(2 * 3600_000);
  await assert.rejects(testAuthority(clock, trustDomain, { rootSigner: expired }), { code: 'root_expired' });
});

test('the bundle has the roots of a rotation, and a sequence that rises with a younger root', async () => {
  const clock = new FakeClock();
  const first = await testAuthority(clock, trustDomain);
  await clock.advance(3600_000);
  const next = await testAuthority(clock, trustDomain, { otherRoots: [first.rootSigner.certificate] });
  const bundle = next.authority.bundle.current;
  assert.equal(bundle.roots.length, 2);
  assert.ok(bundle.sequence > first.authority.bundle.current.sequence);
  verifyChain((await first.issue(id)).chain, bundlesOf(bundle), clock.now());
});
