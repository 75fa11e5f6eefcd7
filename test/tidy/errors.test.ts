import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { svidRules } from '#certs/svid-rules.ts';
import { exitCodes } from '#cli/exit-codes.ts';
import { connectionRules } from '#net/peer-refused.ts';
import { reasons } from '#policy/reasons.ts';
import { errorCodes } from '#runtime/error-codes.ts';
import { root } from './source-files.ts';

const page = readFileSync(join(root, 'docs/errors.md'), 'utf8');

const tables: readonly (readonly [string, readonly (readonly (string | number)[])[]])[] = [
  [
    'Requests',
    Object.entries(reasons).map(([reason, { status, meaning, action }]) => [`\`${reason}\``, status, meaning, action]),
  ],
  ['Errors', Object.entries(errorCodes).map(([code, { meaning, action }]) => [`\`${code}\``, meaning, action])],
  ['Rules for certificates', Object.entries(svidRules).map(([rule, meaning]) => [`\`${rule}\``, meaning])],
  ['Rules for connections', Object.entries(connectionRules).map(([rule, meaning]) => [`\`${rule}\``, meaning])],
  ['Exit codes', Object.values(exitCodes).map(({ code, meaning }) => [code, meaning])],
];

describe('docs/errors.md', () => {
  for (const [heading, rows] of tables) {
    test(`lists under "${heading}" what the code has, in its words, and nothing else`, () => {
      const written = rowsBelow(heading);
      const expected = rows.map((cells) => `| ${cells.join(' | ')} |`);
      assert.deepEqual(written, expected, `the table should be:\n${expected.join('\n')}`);
    });
  }
});

/** The rows of the first table below a heading, without its head. */
function rowsBelow(heading: string): string[] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  const lines = section.split('\n');
  const first = lines.findIndex((line) => line.startsWith('|'));
  const end = lines.findIndex((line, at) => at > first && !line.startsWith('|'));
  return lines.slice(first + 2, end);
}
