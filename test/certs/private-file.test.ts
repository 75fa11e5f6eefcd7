import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmod, chown, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const user = 65_532;
const others = 65_000;
const source = join(import.meta.dirname, '../../src/certs/private-file.ts');
const program = `
  import { readPrivateFile } from ${JSON.stringify(source)};
  process.stdout.write(await readPrivateFile(process.argv[1]).catch((error) => error.code));
`;

/** What a process that is not root reads, or the code of its refusal. */
async function readAsUser(path: string): Promise<string> {
  const args = ['--input-type=module', '--eval', program, path];
  const child = spawn(process.execPath, args, { uid: user, gid: user, stdio: ['ignore', 'pipe', 'inherit'] });
  return await text(child.stdout);
}

const isRoot = process.getuid?.() === 0;

describe('a private file, read by who is not root', { skip: isRoot ? false : 'only root can give files away' }, () => {
  const cases: readonly [what: string, mode: number, uid: number, gid: number, outcome: string][] = [
    ['its own', 0o600, user, user, 'key'],
    ['its own, which its group may read', 0o640, user, user, 'key_permissions'],
    ['of a Secret in a pod: of root, for its group', 0o440, 0, user, 'key'],
    ['of root, which its group may write', 0o460, 0, user, 'key_permissions'],
    ['of root, which everybody may read', 0o444, 0, user, 'key_permissions'],
    ['of root, for others', 0o440, 0, others, 'file_unreadable'],
    ['of another, for its group', 0o440, others, user, 'key_permissions'],
  ];
  for (const [what, mode, uid, gid, outcome] of cases) {
    test(`${what} (${mode.toString(8)}): ${outcome}`, async () => {
      await using directory = await temporaryDirectory();
      await chmod(directory.path, 0o755);
      const path = join(directory.path, 'tls.key');
      await writeFile(path, 'key');
      await chown(path, uid, gid);
      await chmod(path, mode);
      assert.equal(await readAsUser(path), outcome);
    });
  }
});
