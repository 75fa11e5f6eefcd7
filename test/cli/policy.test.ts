import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCommand } from '../support/command.ts';

test('`policy schema` prints docs/manifest.schema.json', async () => {
  const { code, stdout, stderr } = await runCommand(['policy', 'schema']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.equal(stdout, readFileSync(join(import.meta.dirname, '../../docs/manifest.schema.json'), 'utf8'));
});

test('`policy schema test` prints docs/policy-test.schema.json', async () => {
  const { code, stdout } = await runCommand(['policy', 'schema', 'test']);
  assert.equal(code, 0);
  assert.equal(stdout, readFileSync(join(import.meta.dirname, '../../docs/policy-test.schema.json'), 'utf8'));
});
