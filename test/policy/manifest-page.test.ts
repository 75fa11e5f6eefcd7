import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readDocuments } from '#policy/read-documents.ts';
import { isCellmeshError } from '#runtime/errors.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/manifest.md'), 'utf8');
const blocks = [...page.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(([, kind, text]) => ({ kind, text: text! }));

describe('docs/manifest.md', () => {
  test('has examples that load', () => {
    const examples = blocks
      .filter(({ kind }) => kind === 'yaml')
      .map(({ text }) => readDocuments(text, 'example.yaml'));
    assert.deepEqual(
      examples.map(({ cells, policies }) => [cells.length, policies.length]),
      [
        [0, 1],
        [1, 0],
      ],
    );
  });

  test('shows what the reader says of a wrong one', () => {
    const at = blocks.findIndex(({ kind }) => kind === 'yaml error');
    const said = blocks[at + 1]!.text.trimEnd().split('\n');
    assert.throws(
      () => readDocuments(blocks[at]!.text, 'messaging.yaml'),
      (error) => {
        assert.ok(isCellmeshError(error));
        assert.deepEqual(error.problems, said);
        return true;
      },
    );
  });
});
