import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ApiClient } from '#api/api-client.ts';
import { Roots, type RootsState } from '#api/generated/cellmesh/certs/v1/roots_pb.ts';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { readSvid } from '#certs/svid.ts';
import { parseTrustBundle } from '#certs/trust-bundle.ts';
import { verifyChain } from '#certs/verify-svid.ts';
import { eventually } from '../support/eventually.ts';
import { type LoadReport, startLoad } from '../support/load.ts';
import { serviceNames } from '../support/messaging-application.ts';
import { type Cell, startCell } from '../support/start-cell.ts';
import { startEdge } from '../support/start-edge.ts';

const perSecond = 20;
const trustDomain = parseTrustDomain('cell-1.cellmesh.localhost');
const globalTrustDomain = parseTrustDomain('cellmesh.localhost');
const drill = { svidLifetime: '20s', rootPublishMin: '2s' };
const rotationMsMax = 60_000;
/** Each look is a handshake, in the process that everything runs in. */
const lookEveryMs = 250;

function assertNoneFailed({ failures, sent, succeeded }: LoadReport): void {
  assert.deepEqual(failures.slice(0, 3), []);
  assert.equal(succeeded, sent);
}

/** The phases that are seen until the root of before has gone. */
async function rotate(client: () => Promise<ApiClient>, retireNow = false): Promise<string[]> {
  // Certificates of seconds end connections, now and then below a call of ours.
  const rpc = <T>(use: (one: ApiClient) => Promise<T>) =>
    eventually(
      async () => {
        using one = await client();
        return await use(one);
      },
      rotationMsMax,
      lookEveryMs,
    );
  const show = () => rpc((one) => one.call(Roots.method.show, {}));
  const { serial } = (await show()).roots[0]!;
  const phasesOf = ({ roots }: RootsState) => roots.map(({ phase }) => phase).join('+');
  using asking = await client();
  const seen = [phasesOf(await asking.call(Roots.method.rotate, { retireNow }))];
  await eventually(
    async () => {
      const state = await show();
      if (seen.at(-1) !== phasesOf(state)) seen.push(phasesOf(state));
      assert.equal(
        state.roots.some((root) => root.serial === serial),
        false,
      );
    },
    rotationMsMax,
    lookEveryMs,
  );
  return seen;
}

async function rootOf(cell: Cell, name: (typeof serviceNames)[number]) {
  const { svid, bundles } = await readSvid(join(cell.services[name].stateDir, 'svid'), Date.now());
  return verifyChain(svid.chain, bundles, Date.now()).root.serial;
}

describe('under constant load from a customer to the last service', () => {
  test('the root of the cell and the root of the planet are rotated at once, and no request fails', async () => {
    await using cell = await startCell({
      identityFlags: drill,
      controlPlaneFlags: drill,
      sidecarFlags: { svidRenewal: '5s' },
    });
    await using edge = await startEdge(cell, { svidRenewal: '5s' });
    const { accountId: user, secret } = await edge.customer(['messages:read', 'messages:write']);
    const send = async () => {
      const { status, body } = await edge.call({ user, secret, method: 'POST', path: '/v1/messages', body: 'hello' });
      return { status, body };
    };
    await using load = startLoad({ perSecond, send });
    await load.next(perSecond);

    const before = parseTrustBundle(await readFile(cell.globalBundleFile, 'utf8'), globalTrustDomain);
    const phases = await Promise.all([rotate(() => cell.client()), rotate(() => cell.identity.adminOfNow())]);
    for (const seen of phases) assert.deepEqual(seen, ['active+published', 'retiring+active', 'active']);
    const { bundle, listed } = await eventually(async () => {
      using admin = await cell.client();
      const state = await admin.call(Roots.method.show, {});
      using identity = await cell.identity.adminOfNow();
      const { cells } = await identity.call(IdentityAdmin.method.listCells, {});
      const listed = parseTrustBundle(cells[0]!.trustBundle, trustDomain);
      assert.equal(listed.sequence, Number(state.sequence));
      return { bundle: state, listed };
    });
    assert.deepEqual(
      listed.roots.map(({ serial }) => serial),
      bundle.roots.map(({ serial }) => serial),
    );
    for (const name of serviceNames) assert.equal(await rootOf(cell, name), bundle.roots[0]!.serial);

    await load.next(perSecond);
    const after = parseTrustBundle(await readFile(cell.globalBundleFile, 'utf8'), globalTrustDomain);
    assert.ok(after.sequence > before.sequence);
    assertNoneFailed(await load.stop());
  });

  test('a root that may be known to others is replaced in seconds, every SVID is renewed, and no request fails', async () => {
    await using cell = await startCell();
    await using edge = await startEdge(cell);
    const { accountId: user, secret } = await edge.customer(['messages:read', 'messages:write']);
    const send = () => edge.call({ user, secret, method: 'POST', path: '/v1/messages', body: 'hello' });
    await using load = startLoad({ perSecond, send });
    await load.next(perSecond);
    const former = await rootOf(cell, 'api');
    using admin = await cell.client();
    await admin.call(Roots.method.rotate, { retireNow: true });
    await eventually(async () => {
      for (const name of serviceNames) {
        const { chain } = await cell.svidOf(name);
        const stored = await readSvid(join(cell.services[name].stateDir, 'svid'), Date.now());
        const { root } = verifyChain(chain, stored.bundles, Date.now());
        assert.notEqual(root.serial, former);
        assert.ok(root.subject.equals(root.issuer), `${name} was not renewed`);
        assert.equal(
          [...stored.bundles.values()].some(({ roots }) => roots.some(({ serial }) => serial === former)),
          false,
        );
      }
    }, rotationMsMax);
    await load.next(perSecond);
    assertNoneFailed(await load.stop());
  });
});
