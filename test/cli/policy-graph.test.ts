import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { PolicyGraph } from '#policy/graph/graph.ts';
import { runCommand } from '../support/command.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const examples = join(import.meta.dirname, '../../examples/messaging/policy');

describe('`policy graph`', () => {
  test('draws the example as Mermaid', async () => {
    const { code, stdout, stderr } = await runCommand(['policy', 'graph', examples]);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^flowchart LR\n {2}n0\(\["router"\]\)\n/);
    assert.ok(stdout.includes('n0 -->|"messages:read<br/>messages:write"| n1\n'), stdout);
  });

  test('is narrowed to one service, by either of its names', async () => {
    for (const name of ['store', 'messaging/store']) {
      const { code, stdout } = await runCommand(['policy', 'graph', examples, '--service', name, '--json']);
      assert.equal(code, 0);
      const { services, edges } = JSON.parse(stdout) as PolicyGraph;
      assert.deepEqual(
        services.map((service) => service.name),
        ['messaging/messaging', 'messaging/store'],
      );
      assert.deepEqual(edges, [
        { from: 'messaging/messaging', to: 'messaging/store', rules: ['keep'], scopes: [], own: ['records:keep'] },
      ]);
    }
  });

  test('ends with a code of its own for what it cannot use', async () => {
    await using directory = await temporaryDirectory();
    const cases: readonly [readonly string[], number, RegExp][] = [
      [[directory.path], 64, /holds no manifests/],
      [[join(directory.path, 'nowhere')], 66, /cannot be read/],
      [[examples, '--service', 'nobody'], 66, /there is no service nobody; there are messaging\/api, /],
    ];
    for (const [args, code, said] of cases) {
      const result = await runCommand(['policy', 'graph', ...args]);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, said);
    }
  });

  test('has a help with examples', async () => {
    const { code, stdout } = await runCommand(['policy', 'graph', '--help']);
    assert.equal(code, 0);
    assert.match(stdout, /Examples:\n {2}cellmesh policy graph policy\//);
  });
});
