import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { installed } from '../interop/parts.ts';
import { runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const root = resolve(import.meta.dirname, '../..');
const example = join(root, 'examples/messaging/policy');

async function copyOfExample() {
  const directory = await temporaryDirectory();
  await cp(example, directory.path, { recursive: true });
  const edit = async (file: string, from: string, to: string) => {
    const text = await readFile(join(directory.path, file), 'utf8');
    assert.ok(text.includes(from), from);
    await writeFile(join(directory.path, file), text.replace(from, to));
  };
  return { ...directory, edit };
}

describe('`policy test`', () => {
  test('passes on the sample application, a line a case, and tells which rules no case reaches', async () => {
    const { code, stdout, stderr } = await runCommand(['policy', 'test', example, '--coverage-min', '93']);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^api\.test\.yaml\n {2}✔ a customer reads a message\n/);
    assert.ok(
      stdout.endsWith(
        '30 cases: 30 passed. Rules that allow something in them: 14 of 15 (93 %).\n  not reached: messaging/delivery cancel\n',
      ),
      stdout,
    );
  });

  test('fails with 1 when fewer of the rules are reached than is asked for', async () => {
    const { code, stderr } = await runCommand(['policy', 'test', example, '--coverage-min', '94']);
    assert.deepEqual([code, stderr], [1, 'cellmesh: 93 % of the rules allow something in the cases, not 94 %\n']);
  });

  test('fails with 1 when a case fails, and shows the whole evaluation, to people and programs', async () => {
    await using directory = await copyOfExample();
    await directory.edit('store.yaml', 'from: [messaging/messaging]', 'from: [messaging/api]');
    const { code, stdout, stderr } = await runCommand(['policy', 'test', directory.path]);
    assert.deepEqual([code, stderr], [1, 'cellmesh: 1 of 30 cases failed\n']);
    assert.match(stdout, / {2}✖ messaging keeps its records in the store\n {6}store\.test\.yaml:9\n/);
    assert.match(stdout, /- add messaging\/messaging to `from` of rule keep/);
    const json = JSON.parse((await runCommand(['policy', 'test', directory.path, '--json'])).stdout);
    assert.equal(json.isPassed, false);
    const failed = json.cases.filter(({ isPassed }: { isPassed: boolean }) => !isPassed);
    assert.equal(failed.length, 1);
    assert.deepEqual(failed[0].hops[0].needed, {
      rule: 'keep',
      changes: ['add messaging/messaging to `from` of rule keep'],
    });
    assert.equal(json.coverage.missed.length, 2);
  });

  test('ends with 64 and every place where a document is wrong, and with 66 where there are no cases', async () => {
    await using directory = await copyOfExample();
    await directory.edit('store.test.yaml', 'allow: keep', 'allow: kept');
    const named = await runCommand(['policy', 'test', directory.path]);
    assert.deepEqual([named.code, named.stdout], [64, '']);
    assert.equal(
      named.stderr,
      'cellmesh: store.test.yaml:9:15: messaging/store has no rule kept; did you mean `keep`? [document_invalid]\n',
    );
    await directory.edit('store.yaml', 'mode: enforce', 'mode: enforced');
    const wrong = await runCommand(['policy', 'test', directory.path]);
    assert.equal(wrong.code, 64);
    assert.match(wrong.stderr, /^cellmesh: store\.yaml:\d+:\d+: audit or enforce is expected/);
    await using empty = await temporaryDirectory();
    const none = await runCommand(['policy', 'test', empty.path]);
    assert.deepEqual([none.code, none.stdout], [66, '']);
    assert.equal((await runCommand(['policy', 'test', example, '--coverage-min', '101'])).code, 64);
  });

  test('runs the cases by the candidates where that is asked for', async () => {
    await using directory = await copyOfExample();
    const store = await readFile(join(directory.path, 'store.yaml'), 'utf8');
    const candidate = store.replace('  allow:', '  rollout: { percent: 1, newlyDeniedMax: 1% }\n  allow:');
    await writeFile(
      join(directory.path, 'store-next.yaml'),
      candidate.replace('[messaging/messaging]', '[messaging/api]'),
    );
    assert.equal((await runCommand(['policy', 'test', directory.path])).code, 0);
    const { code, stdout } = await runCommand(['policy', 'test', directory.path, '--candidate']);
    assert.equal(code, 1);
    assert.match(stdout, /✖ messaging keeps its records/);
  });
});

const python = installed('python3');

test('`--junit` writes XML that a parser reads', { skip: 'skip' in python && python.skip }, async () => {
  await using directory = await copyOfExample();
  const name = 'a \\"name\\" with <tags> & a \\u0001 control \\ufffe\\tcharacter';
  await directory.edit('store.test.yaml', 'name: messaging keeps its records in the store', `name: "${name}"`);
  await directory.edit('store.yaml', 'from: [messaging/messaging]', 'from: [messaging/api]');
  const file = join(directory.path, 'report.xml');
  assert.equal((await runCommand(['policy', 'test', directory.path, '--junit', file])).code, 1);
  const script = `
import json, sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
cases = root.findall('testsuite/testcase')
failed = [case for case in cases if case.find('failure') is not None]
print(json.dumps({'counts': root.attrib, 'suites': [suite.attrib for suite in root], 'cases': len(cases), 'failed': [[case.attrib, case.find('failure').attrib, case.find('failure').text] for case in failed]}))`;
  const { stdout } = await promisify(execFile)((python as { path: string }).path, ['-c', script, file]);
  const { counts, suites, cases, failed } = JSON.parse(stdout);
  assert.deepEqual(counts, { name: 'cellmesh policy test', tests: '30', failures: '1', errors: '0' });
  assert.deepEqual(suites.at(-1), { name: 'store.test.yaml', tests: '4', failures: '1', errors: '0' });
  assert.deepEqual([cases, failed.length], [30, 1]);
  const [attributes, failure, details] = failed[0];
  assert.equal(attributes.name, 'a "name" with <tags> & a \ufffd control \ufffd\tcharacter');
  assert.equal(attributes.line, '7');
  assert.match(
    failure.message,
    /^expected: allowed by rule keep; actual: refused with peer_not_allowed, by the callee/,
  );
  assert.match(details, /For rule `keep` to allow it/);
});

test('`--watch` runs again with every change, says what is wrong, and ends cleanly with SIGINT', async () => {
  await using directory = await copyOfExample();
  const child = spawn(join(root, 'cellmesh'), ['policy', 'test', directory.path, '--watch'], { stdio: 'pipe' });
  try {
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk;
      });
    const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve([code, signal])));
    const says = (what: RegExp) => eventually(() => assert.match(output, what));
    await says(/30 passed[\s\S]*waiting for changes/);
    output = '';
    await directory.edit('store.yaml', 'from: [messaging/messaging]', 'from: [messaging/api]');
    await says(/1 of 30 cases failed\n[\s\S]*waiting for changes/);
    output = '';
    await directory.edit('store.yaml', 'mode: enforce', 'mode: enforced');
    await says(/audit or enforce is expected[\s\S]*waiting for changes/);
    output = '';
    await directory.edit('store.yaml', 'mode: enforced', 'mode: enforce');
    await directory.edit('store.yaml', 'from: [messaging/api]', 'from: [messaging/messaging]');
    await says(/30 passed[\s\S]*waiting for changes/);
    assert.ok(!output.includes('\u001b'), 'nothing is cleared');
    child.kill('SIGINT');
    assert.deepEqual(await ended, [0, null]);
  } finally {
    child.kill('SIGKILL');
  }
});
