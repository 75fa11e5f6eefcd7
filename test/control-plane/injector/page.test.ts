import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { annotationOf, annotationSettings } from '#control-plane/injector/annotations.ts';
import { injectorSettings } from '#control-plane/injector/settings.ts';
import { fallbackText, flagOf, type Setting, type Settings } from '#runtime/config.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/injection.md'), 'utf8');

describe('docs/injection.md', () => {
  const tables: readonly (readonly [heading: string, settings: Settings, nameOf: (name: string) => string])[] = [
    ['Annotations', annotationSettings, annotationOf],
    ['Settings', injectorSettings, flagOf],
  ];
  for (const [heading, settings, nameOf] of tables) {
    test(`has every row of the table under "${heading}", and no other`, () => {
      const section = page.split(/^##+ /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
      const written = section.split('\n').filter((line) => line.startsWith('| `'));
      const expected = Object.entries(settings).map(
        ([name, setting]) =>
          `| \`${nameOf(name)}\` | ${setting.form.replaceAll('|', '\\|')} | ${defaultOf(setting)} | ${setting.doc} |`,
      );
      assert.deepEqual(written, expected, `the table should be:\n${expected.join('\n')}`);
    });
  }
});

function defaultOf(setting: Setting<unknown>): string {
  return fallbackText(setting) || ('fallback' in setting ? 'none' : 'required');
}
