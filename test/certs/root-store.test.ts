import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { toPem } from '#certs/pem.ts';
import { RootKeeper } from '#certs/root-keeper.ts';
import { FileRootStore } from '#certs/root-store-file.ts';
import { rootLifetimeMs, serializeRoots } from '#certs/roots.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryRootStore } from '../support/root-store-memory.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { rootStoreContract, someRoots, trustDomain } from './root-store-contract.ts';

rootStoreContract('in memory', async () => {
  const store = new MemoryRootStore();
  return { stores: [store, store], async [Symbol.asyncDispose]() {} };
});

rootStoreContract('in a file', async () => {
  const directory = await temporaryDirectory();
  const path = join(directory.path, 'root');
  return {
    stores: [new FileRootStore(path, trustDomain), new FileRootStore(path, trustDomain)],
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
});

const clock = new FakeClock();
const rules = { beginAfter: 0.67, publishMsMin: 0, svidLifetimeMs: 12 * 3600_000 };
const open = (path: string) =>
  RootKeeper.open({
    store: new FileRootStore(path, trustDomain),
    trustDomain,
    rules,
    clock,
    random: systemRandom,
    logger: silentLogger,
  });

test('the first start makes a root of one year, mode 0600, and the second takes it up', async () => {
  await using directory = await temporaryDirectory();
  using first = await open(directory.path);
  const [root] = first.bundle.current.roots;
  assert.equal(root!.notAfter, clock.now() + rootLifetimeMs);
  assert.equal(statSync(join(directory.path, 'roots.json')).mode & 0o777, 0o600);
  using second = await open(directory.path);
  assert.deepEqual(second.bundle.current.roots[0]!.der, root!.der);
});

test('processes that start at once end up with one root', async () => {
  await using directory = await temporaryDirectory();
  const keepers = await Promise.all(Array.from({ length: 8 }, () => open(directory.path)));
  assert.equal(new Set(keepers.map(({ bundle }) => bundle.current.roots[0]!.serial)).size, 1);
  for (const keeper of keepers) keeper[Symbol.dispose]();
});

test('the root of a former version is taken over as the active one, and lies in one place', async () => {
  await using directory = await temporaryDirectory();
  const { roots, sequence } = await someRoots();
  const { certificate, privateKey } = roots[0]!;
  const pem = privateKey!.export({ format: 'pem', type: 'pkcs8' }) + toPem('CERTIFICATE', certificate.der);
  writeFileSync(join(directory.path, 'root.pem'), pem, { mode: 0o600 });
  const keepers = await Promise.all([open(directory.path), open(directory.path)]);
  for (const keeper of keepers) {
    assert.deepEqual(
      keeper.bundle.current.roots.map(({ der }) => der),
      [certificate.der],
    );
    assert.equal(keeper.bundle.current.sequence, sequence);
    assert.equal(keeper.status().roots[0]!.phase, 'active');
    keeper[Symbol.dispose]();
  }
  assert.deepEqual(readdirSync(directory.path), ['roots.json']);
});

test('keys that others can read are refused, and the message says what to do', async () => {
  await using directory = await temporaryDirectory();
  (await open(directory.path))[Symbol.dispose]();
  const file = join(directory.path, 'roots.json');
  for (const mode of [0o640, 0o604, 0o660, 0o601]) {
    chmodSync(file, mode);
    await assert.rejects(open(directory.path), { code: 'key_permissions', message: /chmod 600/ });
  }
  chmodSync(file, 0o400);
  (await open(directory.path))[Symbol.dispose]();
});

test('roots of another trust domain are refused', async () => {
  await using directory = await temporaryDirectory();
  (await open(directory.path))[Symbol.dispose]();
  const other = new FileRootStore(directory.path, parseTrustDomain('cell-2.example.com'));
  await assert.rejects(other.load(), { code: 'roots_invalid', message: /cell-2/ });
});

test('what holds no roots that fit is refused by name, and never quoted', async () => {
  await using directory = await temporaryDirectory();
  const store = new FileRootStore(directory.path, trustDomain);
  const [one, other] = [await someRoots(), await someRoots()];
  const twice = { ...one, roots: [...one.roots, ...other.roots] };
  const foreignKey = { ...one, roots: [{ ...one.roots[0]!, privateKey: other.roots[0]!.privateKey }] };
  const keyless = { ...one, roots: [{ ...one.roots[0]!, privateKey: undefined }] };
  const cases: readonly (readonly [string, RegExp])[] = [
    ['my secret', /not JSON/],
    ['{"format":9}', /format 9/],
    [serializeRoots(twice), /not exactly one root is active/],
    [serializeRoots(foreignKey), /not the key of its certificate/],
    [serializeRoots(keyless), /key of the active root is missing/],
    [serializeRoots(one).replace('"active"', '"resting"'), /phase is unknown/],
    [serializeRoots(one).replace(/MI[A-Za-z0-9+/]{8}/, 'my secret'), /./],
  ];
  for (const [text, message] of cases) {
    writeFileSync(join(directory.path, 'roots.json'), text, { mode: 0o600 });
    await assert.rejects(store.load(), (error: Error & { code: string }) => {
      assert.equal(error.code, 'roots_invalid', text);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /my secret/);
      return true;
    });
  }
  assert.match(readFileSync(join(directory.path, 'roots.json'), 'utf8'), /PRIVATE KEY/);
});
