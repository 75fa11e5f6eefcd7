import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { IdentityAdmin, IdentityCells, IdentityEdge } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { adminId, controlPlaneId } from '#certs/reserved-ids.ts';
import { type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { parseTrustBundle, serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { neighbourhoodOf } from '#identity/verify-key.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { parseKeySet } from '#tokens/key-set.ts';
import { generateSigningKey } from '#tokens/signing-key.ts';
import { type IdentitySetting, startIdentitySetting, tokenIssuer } from '../support/identity-setting.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority } from '../support/test-authority.ts';

async function registerCell({ admin }: IdentitySetting): Promise<void> {
  const cell = await testAuthority(systemClock, 'cell-1.cellmesh.localhost');
  const trustBundle = serializeTrustBundle(cell.authority.bundle.current);
  await admin.call(IdentityAdmin.method.registerCell, {
    cell: {
      cellId: 'cell-1',
      trustDomain: 'cell-1.cellmesh.localhost',
      trustBundle,
      controlPlaneHost: '127.0.0.1',
      controlPlanePort: 14010,
    },
  });
}

test('an account gets keys, a router can tell good ones from bad ones, and what was told survives a restart', async () => {
  await using directory = await temporaryDirectory();
  let accountId = '';
  let secret = '';
  let keyId = '';
  {
    await using setting = await startIdentitySetting(directory.path);
    await registerCell(setting);
    ({ accountId } = await setting.admin.call(IdentityAdmin.method.createAccount, { name: 'first', cellId: 'cell-1' }));
    const created = await setting.admin.call(IdentityAdmin.method.createKey, { accountId, scopes: ['messages:write'] });
    secret = created.secret;
    keyId = created.key!.keyId;
    assert.match(secret, /^cmk1_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$/);
  }
  await using setting = await startIdentitySetting(directory.path);
  const router = setting.client(await setting.routerSvid('r1'));
  const verify = async (user: string, password: string) => {
    const { result } = await router.call(IdentityEdge.method.verifyKey, {
      accountId: user,
      secret: password,
      clientAddress: '127.0.0.1',
    });
    return result.case === 'key' ? `${result.value.scopes}` : result.value;
  };
  assert.equal(await verify(accountId, secret), 'messages:write');
  assert.equal(await verify(keyId, secret), 'messages:write');
  assert.equal(await verify(`AC${'0'.repeat(32)}`, secret), 'key_mismatch');
  assert.equal(await verify(accountId, `${secret.slice(0, -1)}${secret.endsWith('0') ? '1' : '0'}`), 'key_unknown');
  assert.equal(await verify(accountId, 'not a key'), 'key_unknown');
  await setting.admin.call(IdentityAdmin.method.revokeKey, { keyId });
  assert.equal(await verify(accountId, secret), 'key_revoked');
});

test('an account has two usable keys at most, and a rotation leaves both usable for a while', async () => {
  await using directory = await temporaryDirectory();
  await using setting = await startIdentitySetting(directory.path);
  await registerCell(setting);
  const { accountId } = await setting.admin.call(IdentityAdmin.method.createAccount, { name: '', cellId: 'cell-1' });
  const { key } = await setting.admin.call(IdentityAdmin.method.createKey, { accountId, scopes: ['a:read'] });
  const rotated = await setting.admin.call(IdentityAdmin.method.rotateKey, { keyId: key!.keyId });
  const { keys } = await setting.admin.call(IdentityAdmin.method.listKeys, { accountId });
  assert.deepEqual(new Set(keys.map(({ state }) => state)), new Set(['active', 'retiring']));
  assert.deepEqual(rotated.key?.scopes, ['a:read']);
  const third = setting.admin.call(IdentityAdmin.method.createKey, { accountId, scopes: [] });
  await assert.rejects(third, (error) => isCellmeshError(error, 'key_limit'));
});

test('an account is placed by whoever read its epoch last', async () => {
  await using directory = await temporaryDirectory();
  await using setting = await startIdentitySetting(directory.path);
  await registerCell(setting);
  const { accountId } = await setting.admin.call(IdentityAdmin.method.createAccount, { name: '', cellId: 'cell-1' });
  const place = (cellEpoch: bigint) =>
    setting.admin.call(IdentityAdmin.method.placeAccount, { accountId, cellId: 'cell-1', cellEpoch });
  assert.equal((await place(1n)).cellEpoch, 2n);
  await assert.rejects(place(1n), (error) => isCellmeshError(error, 'conflict'));
  const nowhere = setting.admin.call(IdentityAdmin.method.createAccount, { name: '', cellId: 'cell-9' });
  await assert.rejects(nowhere, (error) => isCellmeshError(error, 'not_found'));
});

test('a router registers its own signing key, which is published bound to it, beside two of identity', async () => {
  await using directory = await temporaryDirectory();
  await using setting = await startIdentitySetting(directory.path);
  const svid = await setting.routerSvid('r1');
  const { published } = generateSigningKey({ iss: tokenIssuer, kind: 'cell' });
  const jwk = JSON.stringify({ ...published.jwk, kid: published.kid });
  const registered = await setting.client(svid).call(IdentityEdge.method.registerSigningKey, { jwk });
  assert.deepEqual({ iss: registered.iss, kid: registered.kid }, { iss: tokenIssuer, kid: published.kid });
  const response = await fetch(`http://127.0.0.1:${setting.identity.healthPort}/.well-known/jwks.json`);
  const keySet = parseKeySet(await response.text());
  assert.equal(keySet.size, 3);
  assert.equal(keySet.find(tokenIssuer, published.kid)?.owner, svid.id);
  const other = setting.client(await setting.routerSvid('r2')).call(IdentityEdge.method.registerSigningKey, { jwk });
  await assert.rejects(other, (error) => isCellmeshError(error, 'conflict'));
  const broken = setting.client(svid).call(IdentityEdge.method.registerSigningKey, { jwk: '{"kty":"oct"}' });
  await assert.rejects(broken, (error) => isCellmeshError(error, 'request_invalid'));
});

test('a router may not administer, an administrator may not verify keys', async () => {
  await using directory = await temporaryDirectory();
  await using setting = await startIdentitySetting(directory.path);
  const router = setting.client(await setting.routerSvid('r1'));
  await assert.rejects(router.call(IdentityAdmin.method.listAccounts, {}), (error) =>
    isCellmeshError(error, 'rpc_denied'),
  );
  const verify = setting.admin.call(IdentityEdge.method.verifyKey, { accountId: 'a', secret: 'b', clientAddress: '' });
  await assert.rejects(verify, (error) => isCellmeshError(error, 'rpc_denied'));
});

test('a control plane publishes the roots of its own cell: newer ones, that go on from those which are registered', async () => {
  await using directory = await temporaryDirectory();
  await using setting = await startIdentitySetting(directory.path);
  const trustDomain = 'cell-1.cellmesh.localhost';
  const cell = await testAuthority(systemClock, trustDomain);
  const next = await testAuthority(systemClock, trustDomain);
  const held = cell.authority.bundle.current;
  const register = (bundle: TrustBundle) =>
    setting.admin.call(IdentityAdmin.method.registerCell, {
      cell: {
        cellId: 'cell-1',
        trustDomain,
        trustBundle: serializeTrustBundle(bundle),
        controlPlaneHost: '127.0.0.1',
        controlPlanePort: 14010,
      },
    });
  await register(held);
  const roots = [...held.roots, next.rootSigner.certificate];
  const published = async () => {
    const { cells } = await setting.admin.call(IdentityAdmin.method.listCells, {});
    return parseTrustBundle(cells[0]!.trustBundle, cell.trustDomain);
  };
  const as = async (id: SpiffeId, bundle: TrustBundle) => {
    const client = setting.client(await cell.issue(id));
    await client.call(IdentityCells.method.publishBundle, { trustBundle: serializeTrustBundle(bundle) });
  };
  const own = (bundle: Partial<TrustBundle>) => as(controlPlaneId(cell.trustDomain), { ...held, ...bundle });
  await own({ sequence: held.sequence + 1, roots });
  assert.equal((await published()).roots.length, 2);
  // Said again it is no news; after a restart a control plane does.
  await own({ sequence: held.sequence + 1, roots });
  for (const sequence of [held.sequence, held.sequence + 1])
    await assert.rejects(own({ sequence }), (error) => isCellmeshError(error, 'conflict'));
  const stranger = await testAuthority(systemClock, trustDomain);
  const foreign = { sequence: held.sequence + 2, roots: [stranger.rootSigner.certificate] };
  await assert.rejects(own(foreign), (error) => isCellmeshError(error, 'conflict'));
  // Its own SVID is below the other root: the connection ends with the trust in it.
  const last = { sequence: held.sequence + 2, roots: [next.rootSigner.certificate] };
  await own(last).catch((error) => assert.ok(isCellmeshError(error, 'rpc_unavailable')));
  assert.deepEqual(
    (await published()).roots.map(({ serial }) => serial),
    [next.rootSigner.certificate.serial],
  );
  await register(held);
  for (const id of [workloadId(cell.trustDomain, 'a', 'b'), adminId(cell.trustDomain, 'local')]) {
    await assert.rejects(as(id, { ...held, sequence: held.sequence + 9, roots }), (error) =>
      isCellmeshError(error, 'rpc_denied'),
    );
  }
});

test('a second identity on the same state is refused with a clear word', async () => {
  await using directory = await temporaryDirectory();
  await using _ = await startIdentitySetting(join(directory.path, 's'));
  await assert.rejects(startIdentitySetting(join(directory.path, 's')), (error) =>
    isCellmeshError(error, 'state_locked'),
  );
});

test('attempts are counted by neighbourhood', () => {
  assert.equal(neighbourhoodOf('192.0.2.77'), neighbourhoodOf('::ffff:192.0.2.1'));
  assert.notEqual(neighbourhoodOf('192.0.2.77'), neighbourhoodOf('192.0.3.77'));
  assert.equal(neighbourhoodOf('2001:db8:1:ab01::1'), neighbourhoodOf('2001:db8:1:abff:2::'));
  assert.notEqual(neighbourhoodOf('2001:db8:1:ab01::1'), neighbourhoodOf('2001:db8:1:ac01::1'));
});
