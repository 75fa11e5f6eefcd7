import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Rollout, Rollouts } from '#api/generated/cellmesh/policy/v1/rollouts_pb.ts';
import { sidecarState } from '../support/admin-socket.ts';
import { eventually } from '../support/eventually.ts';
import { type Cell, startCell } from '../support/start-cell.ts';

/** The API's manifest as a candidate that lets nobody read. */
async function candidateOf(cell: Cell, rollout: string, { mode = 'enforce' } = {}): Promise<string> {
  const services = await readFile(join(cell.manifestsDir, 'services.yaml'), 'utf8');
  return services
    .split('\n---\n')[0]!
    .replace('mode: enforce', `mode: ${mode}\n  rollout: ${rollout}`)
    .replace(/ {4}- \{ name: read, .*\n/, '');
}

async function put(cell: Cell, candidate: string): Promise<void> {
  const versionBefore = (await sidecarState(cell.services.api.stateDir)).policy?.version;
  await writeFile(join(cell.manifestsDir, 'candidate.yaml'), candidate);
  await eventually(async () =>
    assert.notEqual((await sidecarState(cell.services.api.stateDir)).policy?.version, versionBefore),
  );
}

async function listed(cell: Cell): Promise<Rollout[]> {
  using client = await cell.client();
  return (await client.call(Rollouts.method.list, {})).rollouts;
}

async function statuses(cell: Cell, count: number): Promise<number[]> {
  const token = await cell.mint();
  const client = await cell.routerClient('api');
  const headers = { host: `api:${cell.services.api.application.port}`, 'cellmesh-token': token };
  const all: number[] = [];
  for (let sent = 0; sent < count; sent++) {
    all.push((await client.call({ method: 'GET', path: '/v1/messages', headers })).status);
  }
  return all;
}

const distinct = (some: readonly number[]) => [...new Set(some)];

describe('a candidate that denies more than it may', () => {
  test('is withdrawn within seconds, stays so after a restart and with another share, and comes back with other rules', async () => {
    await using cell = await startCell();
    await put(cell, await candidateOf(cell, '{ percent: 100, newlyDeniedMax: 10%, requestsMin: 20 }'));
    assert.deepEqual(distinct(await statuses(cell, 19)), [403], 'it is in force for everybody');
    await eventually(async () => assert.equal(Number((await listed(cell))[0]!.allowed), 19));
    assert.equal((await listed(cell))[0]!.withdrawnAtMs, undefined, 'it is not judged yet');
    await statuses(cell, 1);
    await eventually(async () => assert.deepEqual(distinct(await statuses(cell, 1)), [200]), 10_000);
    const [withdrawn] = await listed(cell);
    assert.ok(withdrawn!.withdrawnAtMs !== undefined);
    assert.deepEqual([withdrawn!.service, withdrawn!.newlyDenied >= 20n], ['messaging/api', true]);

    await cell.stopControlPlane();
    await cell.startControlPlane();
    await put(cell, await candidateOf(cell, '{ percent: 50, newlyDeniedMax: 10%, requestsMin: 20 }'));
    assert.deepEqual(distinct(await statuses(cell, 5)), [200]);
    assert.ok((await listed(cell))[0]!.withdrawnAtMs !== undefined);

    const other = await candidateOf(cell, '{ percent: 100, newlyDeniedMax: 10%, requestsMin: 20 }');
    await put(cell, other.replace('name: write', 'name: write-again'));
    await eventually(async () => assert.deepEqual(distinct(await statuses(cell, 1)), [403]));
    assert.equal((await listed(cell))[0]!.withdrawnAtMs, undefined);
  });

  test('stays beside a version in audit, and that is told: nobody switches enforcement off by sending requests', async () => {
    await using cell = await startCell({
      editManifests: (text) => text.replace('mode: enforce', 'mode: audit'),
    });
    const enforcing = (await candidateOf(cell, '')).replace(
      /mode: audit/,
      'mode: enforce\n  rollout: { percent: 100, newlyDeniedMax: 0%, requestsMin: 1 }',
    );
    await put(cell, enforcing.replace(/ {4}- \{ name: read, .*\n/, ''));
    assert.deepEqual(distinct(await statuses(cell, 5)), [403]);
    await eventually(async () => assert.equal((await listed(cell))[0]!.isOverWithoutReturn, true));
    assert.equal((await listed(cell))[0]!.withdrawnAtMs, undefined);
    assert.deepEqual(distinct(await statuses(cell, 2)), [403]);
  });

  test('leaves nothing behind when its file goes', async () => {
    await using cell = await startCell();
    await put(cell, await candidateOf(cell, '{ percent: 100, newlyDeniedMax: 100% }'));
    assert.deepEqual(distinct(await statuses(cell, 2)), [403]);
    await rm(join(cell.manifestsDir, 'candidate.yaml'));
    await eventually(async () => assert.deepEqual(distinct(await statuses(cell, 1)), [200]), 10_000);
    assert.deepEqual(await listed(cell), []);
  });
});
