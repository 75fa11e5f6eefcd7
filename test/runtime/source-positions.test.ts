import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import { withSourcePositions } from '#runtime/source-positions.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** A function in the fourth line of `src/fail.ts` that throws, as built into `dist/`; its trace. */
async function traceOfBuilt({ sourcemap }: { readonly sourcemap: 'hidden' | false }): Promise<string> {
  await using directory = await temporaryDirectory();
  const [src, dist] = [join(directory.path, 'src'), join(directory.path, 'dist')];
  await mkdir(src);
  const text =
    'interface Nothing {\n  readonly nothing: true;\n}\nexport function fail(): Nothing { throw new Error(); }\n';
  await writeFile(join(src, 'fail.ts'), text);
  const build = await rolldown({ input: join(src, 'fail.ts') });
  await build.write({ dir: dist, sourcemap });
  const { fail } = await import(pathToFileURL(join(dist, 'fail.js')).href);
  try {
    return fail();
  } catch (error) {
    return withSourcePositions((error as Error).stack!);
  }
}

describe('a stack trace', () => {
  test('names lines of the source where code was built', async () => {
    assert.match(await traceOfBuilt({ sourcemap: 'hidden' }), /^ {4}at (\w+ )?\(?src\/fail\.ts:4:\d+\)?$/m);
  });

  test('stays as it is without a map', async () => {
    assert.match(await traceOfBuilt({ sourcemap: false }), /^ {4}at fail \(file:\/\/.*\/dist\/fail\.js:\d+:\d+\)$/m);
  });
});
