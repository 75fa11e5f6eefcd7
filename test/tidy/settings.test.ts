import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { identitySettings } from '#identity/settings.ts';
import { routerSettings } from '#router/settings.ts';
import { fallbackText, flagOf, type Setting, type Settings } from '#runtime/config.ts';
import { sidecarSettings } from '#sidecar/sidecar-config.ts';
import { root, sourceFiles } from './source-files.ts';

const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');
const roles: readonly (readonly [string, Settings])[] = [
  ['sidecar', sidecarSettings],
  ['control-plane', controlPlaneSettings],
  ['identity', identitySettings],
  ['router', routerSettings],
];

describe('docs/operations.md', () => {
  for (const [role, settings] of roles) {
    test(`lists every setting of ${role}, with its default`, () => {
      const section = page.split(/^##+ /m).find((text) => text.startsWith(`${role}\n`)) ?? '';
      const written = section.split('\n').filter((line) => line.startsWith('| `'));
      const expected = Object.entries(settings).map(
        ([name, setting]) =>
          `| \`${flagOf(name)}\` | ${setting.form.replaceAll('|', '\\|')} | ${defaultOf(setting)} | ${setting.doc} |`,
      );
      assert.deepEqual(written, expected, `the table should be:\n${expected.join('\n')}`);
    });
  }

  test('names every metric, and no other', () => {
    const inCode = sourceFiles('src').flatMap(({ text }) =>
      [...text.matchAll(/'(cellmesh_[a-z0-9_]+)'/g)].map(([, name]) => name),
    );
    const inPage = [...page.matchAll(/`(cellmesh_[a-z0-9_]+)`/g)].map(([, name]) => name);
    assert.deepEqual(new Set(inPage), new Set(inCode));
  });
});

function defaultOf(setting: Setting<unknown>): string {
  return fallbackText(setting) ?? ('fallback' in setting ? 'none' : 'required');
}
