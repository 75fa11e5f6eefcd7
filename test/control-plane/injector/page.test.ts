import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { injectManifests } from '#cli/inject/inject-manifests.ts';
import { annotationOf, annotationSettings } from '#control-plane/injector/annotations.ts';
import { injectorSettings } from '#control-plane/injector/settings.ts';
import { fallbackText, flagOf, loadConfig, type Setting, type Settings } from '#runtime/config.ts';
import type { CellmeshError } from '#runtime/errors.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/injection.md'), 'utf8');

describe('docs/injection.md', () => {
  test('shows what comes out of the manifest that it shows', () => {
    const [settingsText, manifest, injected] = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(
      ([, text]) => text!,
    );
    const flags = parse(settingsText!) as Record<string, string>;
    const settings = loadConfig(injectorSettings, { environment: {}, flags });
    assert.equal(injectManifests(manifest!, 'deploy.yaml', settings).text, injected);
    const refused = manifest!.replace('serviceAccountName: api', 'hostNetwork: true');
    assert.throws(
      () => injectManifests(refused, 'bad.yaml', settings),
      ({ problems }: CellmeshError) =>
        problems.every((problem) => page.includes(`cellmesh: ${problem} [injection_refused]`)),
    );
  });

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
