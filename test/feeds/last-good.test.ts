import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { LastGoodStore } from '#feeds/last-good.ts';
import type { FeedSnapshot } from '#feeds/snapshot.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const snapshot = (revision: number): FeedSnapshot => ({
  ...{ type: 'policy', revision, requires: [], madeAt: 0, document: `document ${revision}` },
});

test('what nobody waited for lies on disk once the store has settled: the last that was asked for', async () => {
  await using directory = await temporaryDirectory();
  const store = new LastGoodStore(join(directory.path, 'feeds'));
  for (let revision = 1; revision <= 20; revision++) void store.write({ snapshot: snapshot(revision), confirmedAt: 1 });
  await store.settled();
  assert.deepEqual(await readdir(join(directory.path, 'feeds')), ['policy.json']);
  assert.equal((await store.read('policy'))?.snapshot.document, 'document 20');
});
