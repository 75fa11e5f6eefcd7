import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lintRules } from '#policy/lint/lint-rules.ts';

test('docs/policy-lint.md lists every rule, in the words of the code, and no other', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/policy-lint.md'), 'utf8');
  const written = page.split('\n').filter((line) => line.startsWith('| `'));
  const expected = Object.entries(lintRules).map(
    ([name, { severity, meaning, action }]) => `| \`${name}\` | ${severity} | ${meaning} | ${action} |`,
  );
  assert.deepEqual(written, expected, `the table should be:\n${expected.join('\n')}`);
});
