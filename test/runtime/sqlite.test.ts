import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openDatabase, transact } from '#runtime/sqlite.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const migrations = ['CREATE TABLE a (x INTEGER) STRICT', 'CREATE TABLE b (y INTEGER) STRICT'];

describe('a state file', () => {
  test('is made and brought up to date once, and keeps what is in it', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'deep', 'state.db');
    const first = openDatabase({ file, application: 'test', migrations: migrations.slice(0, 1) });
    first.exec('INSERT INTO a VALUES (1)');
    first.close();
    const second = openDatabase({ file, application: 'test', migrations });
    assert.deepEqual({ ...second.prepare('SELECT x FROM a').get() }, { x: 1 });
    second.exec('INSERT INTO b VALUES (2)');
    second.close();
  });

  test('of a newer version, or of another program, is refused by name', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'state.db');
    openDatabase({ file, application: 'test', migrations }).close();
    assert.throws(() => openDatabase({ file, application: 'test', migrations: migrations.slice(0, 1) }), {
      code: 'state_version',
      message: /has version 2, this program reads up to 1/,
    });
    assert.throws(() => openDatabase({ file, application: 'other', migrations }), {
      code: 'state_version',
      message: /belongs to test/,
    });
  });

  test('belongs to one process at a time', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'state.db');
    const first = openDatabase({ file, application: 'test', migrations });
    assert.throws(() => openDatabase({ file, application: 'test', migrations }), { code: 'state_locked' });
    first.close();
    openDatabase({ file, application: 'test', migrations }).close();
  });

  test('takes all of a transaction or nothing', async () => {
    await using directory = await temporaryDirectory();
    const database = openDatabase({ file: join(directory.path, 'state.db'), application: 'test', migrations });
    assert.throws(
      () =>
        transact(database, () => {
          database.exec('INSERT INTO a VALUES (1)');
          throw new Error('halfway');
        }),
      /halfway/,
    );
    assert.equal(database.prepare('SELECT count(*) AS n FROM a').get()!['n'], 0);
    database.close();
  });

  test('has what was committed before its process was killed', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'state.db');
    const module = JSON.stringify(new URL('../../src/runtime/sqlite.ts', import.meta.url).href);
    const script = `
      import { openDatabase } from ${module};
      const database = openDatabase({ file: ${JSON.stringify(file)}, application: 'test', migrations: ${JSON.stringify(migrations)} });
      for (let i = 0; ; i++) {
        database.exec('INSERT INTO a VALUES (' + i + ')');
        process.stdout.write(i + '\\n');
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.split('\n').length > 50) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const acknowledged = said.split('\n').slice(0, -1).length;
    const database = openDatabase({ file, application: 'test', migrations });
    assert.ok(Number(database.prepare('SELECT count(*) AS n FROM a').get()!['n']) >= acknowledged);
    database.close();
  });

  test('that is no database is refused', async () => {
    await using directory = await temporaryDirectory();
    assert.throws(() => openDatabase({ file: directory.path, application: 'test', migrations }), {
      code: 'file_unreadable',
    });
  });
});
