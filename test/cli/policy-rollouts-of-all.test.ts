import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ApiClient } from '#api/api-client.ts';
import { ListRolloutsResponseSchema, type RolloutSchema } from '#api/generated/cellmesh/policy/v1/rollouts_pb.ts';
import { rolloutsOfAll } from '#cli/policy/rollouts-of-all.ts';

type Run = readonly [run: string, allowed: bigint, newlyDenied: bigint];

/** A replica that tells of one candidate. */
function replica(runs: readonly Run[], change: MessageInitShape<typeof RolloutSchema> = {}): Pick<ApiClient, 'call'> {
  const sum = (at: 1 | 2) => runs.reduce((total, run) => total + run[at], 0n);
  const rollout = {
    ...{ service: 'shop/web', version: 'v', allowed: sum(1), newlyDenied: sum(2) },
    runs: runs.map(([run, allowed, newlyDenied]) => ({ run, allowed, newlyDenied })),
    ...change,
  };
  const response = create(ListRolloutsResponseSchema, { rollouts: [rollout] });
  return { call: async () => response as never };
}

test('adds what sidecars told different replicas', async () => {
  const [found, ...others] = await rolloutsOfAll([replica([['a', 100n, 1n]]), replica([['b', 50n, 2n]])]);
  assert.deepEqual([found!.allowed, found!.newlyDenied], [150n, 3n]);
  assert.deepEqual(others, []);
});

test('counts a sidecar once that has changed from one replica to another', async () => {
  const early = replica([
    ['a', 100n, 1n],
    ['b', 10n, 0n],
  ]);
  const [found] = await rolloutsOfAll([early, replica([['a', 120n, 4n]])]);
  assert.deepEqual([found!.allowed, found!.newlyDenied], [130n, 4n]);
});

test('knows that one of them has withdrawn it, and when that was first', async () => {
  const [found] = await rolloutsOfAll([
    replica([]),
    replica([], { withdrawnAtMs: 9n }),
    replica([], { withdrawnAtMs: 10n }),
  ]);
  assert.equal(found!.withdrawnAtMs, 9n);
});

test('keeps candidates apart', async () => {
  const all = await rolloutsOfAll([replica([['a', 1n, 0n]]), replica([['a', 2n, 0n]], { version: 'other' })]);
  assert.deepEqual(
    all.map(({ version, allowed }) => [version, allowed]),
    [
      ['v', 1n],
      ['other', 2n],
    ],
  );
});

test('believes a replica that does not tell of runs', async () => {
  const [found] = await rolloutsOfAll([replica([], { allowed: 7n })]);
  assert.equal(found!.allowed, 7n);
});
