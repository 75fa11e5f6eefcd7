import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { runCommand } from '../support/command.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

describe('what cannot be done', () => {
  test('is said in one line, with an exit code for programs', async () => {
    await using empty = await temporaryDirectory();
    const nowhere = join(empty.path, 'nowhere');
    const cases: readonly [readonly string[], number, RegExp][] = [
      [
        ['explain', 'x', '--state', nowhere],
        66,
        /is no state directory: start a cell with `cellmesh up`.*\[installation_missing\]/,
      ],
      [['certs', 'show', join(empty.path, 'no.pem')], 66, /no\.pem cannot be read.*\[file_unreadable\]/],
      [['up', '--port-base', 'x'], 64, /--port-base/],
      [['nothing'], 64, /unknown command 'nothing'/],
      [['sidecar'], 64, /--namespace \(or CELLMESH_NAMESPACE\) is missing/],
      [['router', '--instance', 'r', '--listen', 'nowhere'], 64, /--listen: must be HOST:PORT/],
    ];
    for (const [args, code, said] of cases) {
      const result = await runCommand(args);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, said);
      assert.equal(result.stdout, '');
    }
  });

  test('a directory with other things in it is neither used nor removed', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'thesis.txt');
    await writeFile(file, 'precious');
    for (const more of [[], ['--fresh']]) {
      const { code, stderr } = await runCommand(['up', '--state', directory.path, '--port-base', '31000', ...more]);
      assert.equal(code, 64);
      assert.match(stderr, /holds other things/);
      assert.equal(await readFile(file, 'utf8'), 'precious');
    }
  });

  test('an error is JSON where JSON was asked for', async () => {
    const { code, stderr } = await runCommand(['accounts', 'list', '--json', '--state', '/nonexistent']);
    assert.equal(code, 66);
    assert.equal((JSON.parse(stderr) as { error: { code: string } }).error.code, 'installation_missing');
  });
});
