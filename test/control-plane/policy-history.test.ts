import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { PolicyHistory as Service } from '#api/generated/cellmesh/policy/v1/policy_history_pb.ts';
import { policyFiles } from '#cli/policy/policy-files.ts';
import { changesMax, PolicyHistory, policyHistoryMigration } from '#control-plane/policy-history.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { eventually } from '../support/eventually.ts';
import { serviceNames } from '../support/messaging-application.ts';
import { startCell } from '../support/start-cell.ts';

function historyOf(bytesMax?: number) {
  const database = openDatabase({ file: ':memory:', application: 'x', migrations: [policyHistoryMigration] });
  const history = new PolicyHistory(database, bytesMax === undefined ? {} : { bytesMax });
  const enter = (version: string, nowMs: number, text = `# ${version}`) =>
    history.enter({ compiled: { version } as never, files: new Map([['cell.yaml', text]]) }, nowMs);
  return { history, enter, versions: () => history.versions().map(({ version }) => version) };
}

describe('policy versions that were in force', () => {
  test('are kept with their files, in the order in which they came; a restart is no change', () => {
    const { history, enter } = historyOf();
    enter('a', 1);
    enter('a', 2);
    enter('b', 3);
    enter('a', 4);
    assert.deepEqual(
      history.versions().map(({ version, sinceMs }) => [version, sinceMs]),
      [
        ['a', 1],
        ['b', 3],
        ['a', 4],
      ],
    );
    assert.deepEqual(history.files('b'), new Map([['cell.yaml', '# b']]));
    assert.equal(history.files('c'), undefined);
  });

  test('are forgotten when they were in force before the oldest decision only', () => {
    const { history, enter, versions } = historyOf();
    enter('a', 10);
    enter('b', 20);
    enter('c', 30);
    enter('a', 40);
    history.expire(29);
    assert.deepEqual(versions(), ['b', 'c', 'a']);
    assert.ok(history.files('a'), 'it is in force again');
    history.expire(30);
    assert.deepEqual(versions(), ['c', 'a']);
    assert.equal(history.files('b'), undefined);
    history.expire(1_000_000);
    assert.deepEqual(versions(), ['a'], 'what is in force stays');
    assert.ok(history.files('a'));
  });

  test('are no more than fit: the oldest go', () => {
    const { enter, versions, history } = historyOf(500);
    for (const version of ['a', 'b', 'c', 'd'])
      enter(version, 1, [...'0123456789'].map((n) => `${version}${n}${Math.sin(Number(n))}`).join());
    assert.ok(versions().length < 4 && versions().length > 0, versions().join());
    assert.equal(versions().at(-1), 'd');
    assert.equal(history.files('a'), undefined);
  });

  test('are no more than so many', () => {
    const { enter, versions } = historyOf();
    for (let n = 0; n <= changesMax; n++) enter(n % 2 === 0 ? 'even' : 'odd', n);
    assert.equal(versions().length, changesMax);
    assert.equal(versions()[0], 'odd');
  });
});

test('a control plane tells its administrator, and nobody else, what was in force', async () => {
  await using cell = await startCell({ withoutSidecars: serviceNames });
  using admin = await cell.client();
  const list = async () => (await admin.call(Service.method.listVersions, {})).versions.map(({ version }) => version);
  const [first] = await list();
  const file = join(cell.manifestsDir, 'services.yaml');
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace('mode: enforce', 'mode: audit'));
  await eventually(async () => assert.equal((await list()).length, 2));
  await cell.stopControlPlane();
  await cell.startControlPlane();
  using again = await cell.client();
  const files = await policyFiles(again, first!);
  assert.deepEqual([...files.keys()], ['cell.yaml', 'services.yaml']);
  assert.equal(files.get('services.yaml'), text);
  await assert.rejects(policyFiles(again, 'f00'), (error) => isCellmeshError(error, 'not_found'));
  using router = await cell.client(await cell.identity.routerSvid('router-1'));
  await assert.rejects(policyFiles(router, first!), (error) => isCellmeshError(error, 'rpc_denied'));
});
