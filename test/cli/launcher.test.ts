import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
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

/** Where `launcher` lies beside files of those names: what it runs, or what it says. */
async function runIn(files: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<string> {
  await using directory = await temporaryDirectory();
  for (const name of files) {
    await mkdir(join(directory.path, dirname(name)), { recursive: true });
    await writeFile(join(directory.path, name), '');
  }
  const [launcher, node] = [join(directory.path, 'cellmesh'), join(directory.path, 'node')];
  await copyFile(join(root, 'cellmesh'), launcher);
  await writeFile(node, '#!/bin/sh\nif [ "$1" = --version ]; then echo v26.10.0; else echo "runs $2"; fi\n');
  await chmod(node, 0o755);
  const env = { PATH: [directory.path, '/usr/bin', '/bin'].join(delimiter), ...environment };
  const { stdout, stderr } = spawnSync(launcher, { env, encoding: 'utf8' });
  return (stdout + stderr).replaceAll(directory.path, '.').trim();
}

describe('the launcher runs', () => {
  const [source, built] = ['src/cli/main.ts', 'dist/main.js'];
  const asked = { CELLMESH_DIST: '1' };

  test('what was built where there is no source, as in a package', async () => {
    assert.equal(await runIn([built]), `runs ./${built}`);
  });

  test('the source where there is one: what was built from it may be older', async () => {
    assert.equal(await runIn([source, built]), `runs ./${source}`);
  });

  test('what was built in a checkout when it is asked to', async () => {
    assert.equal(await runIn([source, built], asked), `runs ./${built}`);
  });

  test('nothing when it is asked for what was not built', async () => {
    assert.match(await runIn([source], asked), /CELLMESH_DIST=1 .* run `npm run build`$/);
  });
});
