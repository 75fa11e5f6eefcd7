import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { readSvid, svidOf, writeSvid } from '#certs/svid.ts';
import { verifyChain } from '#certs/verify-svid.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority } from '../support/test-authority.ts';

const clock = new FakeClock();
const trustDomain = parseTrustDomain('cell-1.example.com');
const cell = await testAuthority(clock);
const globalDomain = await testAuthority(clock, 'example.com');
const bundles = new Map([...cell.bundles, ...globalDomain.bundles]);
const svid = await cell.issue(workloadId(trustDomain, 'messaging', 'api'));
const next = await cell.issue(svid.id);

test('an SVID comes back from disk with its key and all bundles', async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, 'new', 'svid');
  await writeSvid(path, { svid, bundles });
  const stored = await readSvid(path, clock.now());
  assert.equal(stored.svid.id, svid.id);
  assert.equal(stored.svid.privateKey.equals(svid.privateKey), true);
  assert.deepEqual([...stored.bundles.keys()].sort(), [trustDomain, globalDomain.trustDomain]);
});

test('everything is readable by its owner only, and openssl reads it', async () => {
  await using directory = await temporaryDirectory();
  await writeSvid(directory.path, { svid, bundles });
  const current = join(directory.path, 'current');
  for (const name of readdirSync(current)) assert.equal(statSync(join(current, name)).mode & 0o777, 0o600, name);
  const certificateKey = execFileSync('openssl', ['x509', '-in', join(current, 'svid.pem'), '-noout', '-pubkey']);
  const key = execFileSync('openssl', ['pkey', '-in', join(current, 'svid.key'), '-pubout']);
  assert.deepEqual(key, certificateKey);
});

test('a new SVID takes the place of the old one, the generation before stays, older ones go', async () => {
  await using directory = await temporaryDirectory();
  for (const one of [svid, next, svid, next]) await writeSvid(directory.path, { svid: one, bundles });
  assert.equal((await readSvid(directory.path, clock.now())).svid.chain[0]!.serial, next.chain[0]!.serial);
  assert.equal(readdirSync(directory.path).filter((name) => name.startsWith('generation-')).length, 2);
});

test('a crash at any point before the link moves leaves the old SVID in place', async () => {
  await using directory = await temporaryDirectory();
  await writeSvid(directory.path, { svid, bundles });
  mkdirSync(join(directory.path, 'generation-torn'));
  writeFileSync(join(directory.path, 'generation-torn', 'svid.key'), 'half a');
  symlinkSync('generation-torn', join(directory.path, 'current.generation-torn'));
  assert.equal((await readSvid(directory.path, clock.now())).svid.chain[0]!.serial, svid.chain[0]!.serial);
  await writeSvid(directory.path, { svid: next, bundles });
  assert.equal(existsSync(join(directory.path, 'generation-torn')), false);
  assert.equal((await readSvid(directory.path, clock.now())).svid.chain[0]!.serial, next.chain[0]!.serial);
});

test('reading while another SVID is written always finds a matching pair', async () => {
  await using directory = await temporaryDirectory();
  await writeSvid(directory.path, { svid, bundles });
  const writing = (async () => {
    for (let round = 0; round < 6; round++)
      await writeSvid(directory.path, { svid: round % 2 === 0 ? next : svid, bundles });
  })();
  let isWriting = true;
  void writing.finally(() => {
    isWriting = false;
  });
  while (isWriting) await readSvid(directory.path, clock.now());
  await writing;
});

test('an empty directory, a key of another, and a key that others can read are refused', async () => {
  await using directory = await temporaryDirectory();
  await assert.rejects(readSvid(directory.path, clock.now()), { code: 'svid_unreadable' });
  await assert.rejects(readSvid(join(directory.path, 'absent'), clock.now()), { code: 'svid_unreadable' });
  await writeSvid(directory.path, { svid, bundles });
  const keyFile = join(directory.path, 'current', 'svid.key');
  const ownKey = readFileSync(keyFile);
  writeFileSync(keyFile, next.privateKey.export({ format: 'pem', type: 'pkcs8' }));
  await assert.rejects(readSvid(directory.path, clock.now()), { code: 'svid_unreadable' });
  writeFileSync(keyFile, ownKey);
  chmodSync(keyFile, 0o644);
  await assert.rejects(readSvid(directory.path, clock.now()), { code: 'key_permissions' });
});

test('an SVID that has expired on disk is refused by the rule it breaks', async () => {
  await using directory = await temporaryDirectory();
  await writeSvid(directory.path, { svid, bundles });
  const later = svid.chain[0]!.notAfter + 1;
  await assert.rejects(readSvid(directory.path, later), { code: 'svid_rejected', rule: 'expired' });
});

test('an SVID is not put together with the key of another', () => {
  const verified = verifyChain(svid.chain, bundles, clock.now());
  assert.throws(() => svidOf(verified, next.privateKey), { code: 'svid_unreadable' });
});
