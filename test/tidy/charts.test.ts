import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { chartFiles } from '../../build/charts/charts.ts';
import { withTables } from '../../build/charts/install-page.ts';
import { root } from './source-files.ts';

test('the charts and bases are what `npm run fix:charts` makes of the objects that `cellmesh install` prints', () => {
  const expected = new Map([...chartFiles()].filter(([path]) => path !== 'crds/kustomization.yaml'));
  const found = ['charts', 'base'].flatMap((part) =>
    readdirSync(join(root, 'k8s', part), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(join(root, 'k8s/').length)),
  );
  assert.deepEqual(found.sort(), [...expected.keys()].sort());
  for (const [path, text] of chartFiles()) assert.equal(readFileSync(join(root, 'k8s', path), 'utf8'), text, path);
});

test('docs/install.md has every value and every permission', () => {
  const page = readFileSync(join(root, 'docs/install.md'), 'utf8');
  assert.equal(page, withTables(page), 'npm run fix:charts');
});
