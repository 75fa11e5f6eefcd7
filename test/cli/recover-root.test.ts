import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { rootStoreIn } from '#certs/open-authority.ts';
import { createRoot, singleRoot } from '#certs/roots.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { parseTrustBundle } from '#certs/trust-bundle.ts';
import { systemRandom } from '#runtime/random.ts';
import { runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { serviceNames } from '../support/messaging-application.ts';
import { startCell } from '../support/start-cell.ts';

const trustDomain = parseTrustDomain('cell-1.cellmesh.localhost');
const yearMs = 365 * 24 * 3600_000;

test('a cell that was off until its root had ended says so, gets a new one, and serves when all have joined again', async () => {
  await using cell = await startCell();
  const root = dirname(cell.manifestsDir);
  const stateDir = join(root, 'control-plane');
  const bundleFile = join(stateDir, 'trust-bundle.json');
  const recover = (...more: string[]) =>
    runCommand(['certs', 'recover', '--state-dir', stateDir, '--trust-domain', trustDomain, ...more]);
  const whileItRuns = await recover();
  assert.equal(whileItRuns.code, 69, whileItRuns.stderr);
  assert.match(whileItRuns.stderr, /state_locked/);

  for (const name of serviceNames) await cell.services[name].stopSidecar();
  await cell.stopControlPlane();
  const tooEarly = await recover();
  assert.equal(tooEarly.code, 1);
  assert.match(tooEarly.stderr, /is good until .*rotate-root.*\[rotation_refused\]/);

  const store = rootStoreIn(stateDir, trustDomain);
  const before = parseTrustBundle(await readFile(bundleFile, 'utf8'), trustDomain);
  const past = new FakeClock(Date.now() - yearMs - 3600_000);
  const ended = await createRoot({ trustDomain, clock: past, random: systemRandom }, 'active');
  await store.save(singleRoot(trustDomain, ended, before.sequence), (await store.load())!.version);
  await assert.rejects(cell.startControlPlane(), {
    code: 'root_expired',
    message: /the root of cell-1\.cellmesh\.localhost ended .*cellmesh certs recover/,
  });

  const recovered = await recover('--json');
  assert.equal(recovered.code, 0, recovered.stderr);
  const { mustJoin, trustBundle } = JSON.parse(recovered.stdout) as { mustJoin: string[]; trustBundle: string };
  assert.deepEqual(mustJoin, serviceNames.map((name) => String(cell.services[name].id)).sort());
  assert.equal(trustBundle, bundleFile);
  const after = parseTrustBundle(await readFile(bundleFile, 'utf8'), trustDomain);
  assert.ok(after.sequence > before.sequence);

  await cell.startControlPlane();
  const { address } = cell.controlPlane;
  await cell.identity.admin.call(IdentityAdmin.method.registerCell, {
    cell: {
      cellId: 'cell-1',
      trustDomain,
      trustBundle: await readFile(bundleFile, 'utf8'),
      controlPlaneHost: address.host,
      controlPlanePort: address.port,
    },
  });
  for (const name of serviceNames) {
    const { id, stateDir: serviceDir } = cell.services[name];
    // A year later the SVID in it has ended.
    await rm(join(serviceDir, 'svid'), { recursive: true });
    await writeFile(
      join(root, `${name}.join-token`),
      (await cell.controlPlane.joinTokens.create({ id })).token.reveal(),
    );
    await cell.services[name].startSidecar();
  }
  await cell.whenReady();
  const token = await cell.mint();
  await eventually(async () => {
    const { status, body } = await cell.callAsRouter({ token });
    assert.equal(status, 200, body);
  }, 30_000);
});
