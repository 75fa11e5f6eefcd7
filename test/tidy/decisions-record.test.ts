import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseDecisionRecord } from '#policy/decision-record.ts';
import { root } from './source-files.ts';

const page = readFileSync(join(root, 'docs/decisions-record.md'), 'utf8');
const sections: readonly (readonly [heading: string, file: string, shape: string])[] = [
  ['Fields', 'src/policy/decision-record.ts', 'DecisionRecord'],
  ['Fields of `failed`', 'src/policy/decide.ts', 'FailedCondition'],
  ['Fields of `claims`', 'src/policy/decision-record.ts', 'RecordedClaims'],
];

describe('docs/decisions-record.md', () => {
  for (const [heading, file, shape] of sections) {
    test(`lists under "${heading}" what a ${shape} has, in its order, and which fields are always there`, () => {
      const text = readFileSync(join(root, file), 'utf8');
      const body = new RegExp(`interface ${shape} \\{\\n([\\s\\S]*?)^\\}`, 'm').exec(text)?.[1] ?? '';
      const inCode = [...body.matchAll(/^ {2}readonly (\w+)(\??):/gm)].map(([, name, mark]) => [name, mark === '']);
      assert.ok(inCode.length > 0);
      const section = page.split(/^## /m).find((one) => one.startsWith(`${heading}\n`)) ?? '';
      const inPage = [...section.matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)].map(([, name, where]) => [
        name,
        // Written at the end of a request, and so in every record that there is.
        where!.startsWith('every ') && name !== 'durationMs',
      ]);
      assert.deepEqual(inPage, inCode);
    });
  }

  test('says which schema is written, and shows a record of it', () => {
    const shown = /^```json\n([\s\S]*?)^```/m.exec(page)![1]!;
    const record = parseDecisionRecord(shown);
    assert.match(page, new RegExp(`^Records are of schema ${record.schema}\\.`, 'm'));
    const text = readFileSync(join(root, 'src/policy/decision-record.ts'), 'utf8');
    assert.match(text, new RegExp(`^ {2}readonly schema: ${record.schema}\\b`, 'm'));
    const section = page.split(/^## /m).find((one) => one.startsWith('Fields\n'))!;
    for (const name of Object.keys(record)) assert.match(section, new RegExp(`^\\| \`${name}\` \\|`, 'm'));
  });
});
