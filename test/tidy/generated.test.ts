import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { root } from './source-files.ts';

const templates = [
  { directory: '.', out: 'src/api/generated' },
  { directory: 'examples/messaging', out: 'services/generated' },
];

for (const { directory, out } of templates) {
  test(`the generated messages are what \`npx buf generate\` makes of the .proto files, in ${directory}`, async () => {
    await using output = await temporaryDirectory();
    const binaries = join(root, 'node_modules/.bin');
    execFileSync(join(binaries, 'buf'), ['generate', '--output', output.path], {
      cwd: join(root, directory),
      // The plugin is found by its name.
      env: { ...process.env, PATH: `${binaries}${delimiter}${process.env['PATH']}` },
    });
    const expected = filesIn(join(output.path, out));
    assert.notDeepEqual(expected, {});
    assert.deepEqual(filesIn(join(root, directory, out)), expected);
  });
}

function filesIn(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => /\.[jt]s$/.test(name));
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(directory, name), 'utf8')]));
}
