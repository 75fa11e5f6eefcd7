import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { root } from './source-files.ts';

const generated = 'src/api/generated';

test('the generated messages are what `npx buf generate` makes of the .proto files', async () => {
  await using directory = await temporaryDirectory();
  const binaries = join(root, 'node_modules/.bin');
  execFileSync(join(binaries, 'buf'), ['generate', '--output', directory.path], {
    cwd: root,
    // The plugin is found by its name.
    env: { ...process.env, PATH: `${binaries}${delimiter}${process.env['PATH']}` },
  });
  assert.deepEqual(filesIn(join(root, generated)), filesIn(join(directory.path, generated)));
});

function filesIn(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(directory, name), 'utf8')]));
}
