import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { verifyCsr } from '#certs/csr.ts';
import type { SvidRequester } from '#certs/renew-svid.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { bundlesOf } from '#certs/trust-bundle.ts';
import { OwnIdentity, type OwnIdentityOptions } from '#net/own-identity.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority } from '../support/test-authority.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');
const api = workloadId(trustDomain, 'messaging', 'api');

async function setting(directory: string) {
  const clock = new FakeClock();
  const cell = await testAuthority(clock);
  const options: OwnIdentityOptions = {
    directory,
    expect: api,
    startBundles: cell.bundles,
    clock,
    random: systemRandom,
    logger: silentLogger,
  };
  const requester: SvidRequester = {
    requestSvid: (csr) => cell.authority.issue({ id: api, publicKey: verifyCsr(csr).publicKey }),
  };
  return { clock, cell, options, requester };
}

describe('own identity', () => {
  test('a join leaves key, chain and bundles on disk, and the next start needs nobody', async () => {
    await using directory = await temporaryDirectory();
    const { options, requester } = await setting(directory.path);
    assert.equal(await OwnIdentity.fromDisk(options), undefined);
    const { signal } = new AbortController();
    const joined = await OwnIdentity.join(options, { requester, signal, onFailed: assert.fail });
    const restarted = await OwnIdentity.fromDisk(options);
    assert.equal(restarted?.tls.current.svid.id, api);
    assert.equal(restarted?.tls.current.svid.chain[0]?.serial, joined.tls.current.svid.chain[0]?.serial);
    assert.deepEqual([...(restarted?.tls.current.bundles.keys() ?? [])], [trustDomain]);
  });

  test("somebody else's SVID on disk is not used", async () => {
    await using directory = await temporaryDirectory();
    const { options, requester } = await setting(directory.path);
    await OwnIdentity.join(options, { requester, signal: new AbortController().signal, onFailed: assert.fail });
    const other = { ...options, expect: workloadId(trustDomain, 'messaging', 'delivery') };
    assert.equal(await OwnIdentity.fromDisk(other), undefined);
  });

  test('an expired SVID on disk is not used', async () => {
    await using directory = await temporaryDirectory();
    const { options, requester, clock } = await setting(directory.path);
    await OwnIdentity.join(options, { requester, signal: new AbortController().signal, onFailed: assert.fail });
    await clock.advance(13 * 3600_000);
    assert.equal(await OwnIdentity.fromDisk(options), undefined);
  });

  test('a join is tried until it succeeds, and each failure is told', async () => {
    await using directory = await temporaryDirectory();
    const { options, requester, clock } = await setting(directory.path);
    const failures: string[] = [];
    let asked = 0;
    const late: SvidRequester = {
      requestSvid(csr, signal) {
        if (asked++ < 3) throw new Error('the control plane is away');
        return requester.requestSvid(csr, signal);
      },
    };
    let joined: OwnIdentity | undefined;
    const { signal } = new AbortController();
    const join = { requester: late, signal, onFailed: ({ message }: Error) => failures.push(message) };
    void OwnIdentity.join(options, join).then((identity) => {
      joined = identity;
    });
    await eventually(async () => {
      await clock.advance(1_000);
      assert.ok(joined);
    });
    assert.deepEqual(failures, Array(3).fill('the control plane is away'));
  });

  test('new bundles are published with the SVID and are on disk after a restart', async () => {
    await using directory = await temporaryDirectory();
    const { options, requester, clock } = await setting(directory.path);
    const { signal } = new AbortController();
    const identity = await OwnIdentity.join(options, { requester, signal, onFailed: assert.fail });
    const global = await testAuthority(clock, 'example.com');
    const seen: number[] = [];
    identity.tls.subscribe(({ bundles }) => seen.push(bundles.size));
    identity.setBundles(bundlesOf(...options.startBundles.values(), ...global.bundles.values()));
    await identity.settled();
    assert.deepEqual(seen, [2]);
    assert.equal((await OwnIdentity.fromDisk(options))?.tls.current.bundles.size, 2);
  });

  test('renewal replaces the SVID, on disk too', async () => {
    await using directory = await temporaryDirectory();
    const { options, requester, clock } = await setting(directory.path);
    const abort = new AbortController();
    const identity = await OwnIdentity.join(options, { requester, signal: abort.signal, onFailed: assert.fail });
    const first = identity.tls.current.svid.chain[0]!.serial;
    const renewing = identity.renew({ requester, signal: abort.signal });
    await clock.advance(3 * 3600_000);
    await eventually(() => assert.notEqual(identity.tls.current.svid.chain[0]!.serial, first));
    assert.notEqual((await OwnIdentity.fromDisk(options))?.tls.current.svid.chain[0]?.serial, first);
    abort.abort();
    await renewing;
  });
});
