import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { takesTokens } from '#api/operator-token.ts';
import { rpcTable } from '#api/rpc-table.ts';
import { accessAttributesOf } from '#kubernetes/operator-permissions.ts';
import { root } from './source-files.ts';

test('docs/operations.md lists every permission of operators, as Kubernetes has it, and what asks for it', () => {
  const byPermission = new Map<string, string[]>();
  for (const [name, rule] of Object.entries(rpcTable)) {
    if (!takesTokens(rule)) continue;
    const rpcs = byPermission.get(rule.permission) ?? [];
    byPermission.set(rule.permission, [...rpcs, `\`${name.slice(name.lastIndexOf('.') + 1)}\``]);
  }
  const expected = [...byPermission].map(([permission, rpcs]) => {
    const { resource, verb } = accessAttributesOf(permission);
    return `| \`${permission}\` | \`${verb}\` | \`${resource}\` | ${rpcs.join(', ')} |`;
  });
  const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');
  const section = page.split(/^##+ /m).find((text) => text.startsWith('Operators in a cluster\n')) ?? '';
  const written = section.split('\n').filter((line) => /^\| `\w+\.\w+`/.test(line));
  assert.deepEqual(written, expected, `the table should be:\n${expected.join('\n')}`);
});
