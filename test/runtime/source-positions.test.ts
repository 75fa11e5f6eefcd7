import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { withSourcePositions } from '#runtime/source-positions.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** A function in the fourth line of `src/fail.ts` that throws, as built into `dist/`; its trace. */
async function traceOfBuilt({ sourcemap }: { readonly sourcemap: 'external' | false }): Promise<string> {
  await using directory = await temporaryDirectory();
  const [src, dist] = [join(directory.path, 'src'), join(directory.path, 'dist')];
  await mkdir(src);
  const contents =
    'interface Nothing {\n  readonly nothing: true;\n}\nexport const fail = (): Nothing => { throw new Error("failed"); };\n';
  const stdin = { contents, resolveDir: src, sourcefile: 'fail.ts', loader: 'ts' } as const;
  await build({ stdin, absWorkingDir: src, outfile: join(dist, 'fail.js'), format: 'esm', sourcemap });
  const { fail } = await import(pathToFileURL(join(dist, 'fail.js')).href);
  try {
    return fail();
  } catch (error) {
    return withSourcePositions((error as Error).stack!);
  }
}

describe('a stack trace', () => {
  test('names lines of the source where code was built', async () => {
    assert.match(await traceOfBuilt({ sourcemap: 'external' }), /^ {4}at (\w+ )?\(?src\/fail\.ts:4:44\)?$/m);
  });

  test('stays as it is without a map', async () => {
    assert.match(await traceOfBuilt({ sourcemap: false }), /^ {4}at fail \(file:\/\/.*\/dist\/fail\.js:\d+:\d+\)$/m);
  });
});
