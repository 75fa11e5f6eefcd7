import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { groups } from '#cli/check/check-definition.ts';
import { checks } from '#cli/check/checks.ts';

test('docs/check.md lists every check under its group, in the words of the code, and no other', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/check.md'), 'utf8');
  const written = page
    .slice(page.indexOf('## The checks'))
    .split('\n')
    .filter((line) => line.startsWith('| `') || line.startsWith('### '));
  const expected = groups.flatMap((group) => [
    `### ${group.charAt(0).toUpperCase()}${group.slice(1)}`,
    ...checks
      .filter((check) => check.group === group)
      .map(({ id, places, question, pain }) => `| \`${id}\` | ${places.join(', ')} | ${question} | ${pain} |`),
  ]);
  assert.deepEqual(written, expected, `the tables should be:\n${expected.join('\n')}`);
});
