import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { describe, test } from 'node:test';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { root } from '../tidy/source-files.ts';

/** Runs `./cellmesh --help` where `node` says that it is of `version`, and otherwise shows what it was called with. */
async function launchedBy(version: string): Promise<string> {
  await using directory = await temporaryDirectory();
  const node = join(directory.path, 'node');
  await writeFile(node, `#!/bin/sh\nif [ "$1" = --version ]; then echo '${version}'; else echo "own node: $*"; fi\n`);
  await chmod(node, 0o755);
  const env = { PATH: [directory.path, '/usr/bin', '/bin'].join(delimiter) };
  return execFileSync(join(root, 'cellmesh'), ['--help'], { env, encoding: 'utf8' });
}

describe('the launcher', () => {
  for (const version of ['v26.10.0', 'v26.11.2', 'v27.0.0-nightly20261101', 'v100.0.0']) {
    test(`uses a node of the machine's own that is ${version}`, async () => {
      assert.match(await launchedBy(version), /^own node: .*src\/cli\/main\.ts --help$/m);
    });
  }

  for (const version of ['v26.9.9', 'v24.21.0', 'v9.99.0', 'not a version', '']) {
    test(`uses the one that was brought along where the machine's is ${version || 'silent'}`, async () => {
      assert.match(await launchedBy(version), /^Usage: cellmesh/);
    });
  }
});
