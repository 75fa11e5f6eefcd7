import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { DirectoryPolicySource } from '#control-plane/directory-policy-source.ts';
import { systemClock } from '#runtime/clock.ts';
import { silentLogger } from '#runtime/logger.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const cell = `
apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: { "a:read": Read a. }
`;

const policy = (name: string, more = '') => `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: n }
spec:
  serviceAccount: ${name}
  mode: enforce
  ports: [{ port: 80, protocol: http }]
${more}`;

const reading = (scope: string) => `  allow: [{ name: read, from: [router], scopes: ["${scope}"] }]\n`;

async function setting(files: Record<string, string>) {
  const directory = await temporaryDirectory();
  const write = async (more: Record<string, string>) => {
    for (const [name, text] of Object.entries(more)) await writeFile(join(directory.path, name), text);
  };
  await write(files);
  const open = (clock = systemClock) =>
    DirectoryPolicySource.open({ directory: directory.path, clock, logger: silentLogger });
  return { directory, write, open, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}

const services = (source: DirectoryPolicySource) =>
  [...source.cell.current.compiled.snapshots.values()].map(({ service }) => service.name).sort();

describe('a directory of manifests', () => {
  test('has tests beside its manifests, which are none', async () => {
    const files = { 'cell.yaml': cell, 'a.yaml': policy('a'), 'a.test.yaml': policy('b'), 'b.test.yml': 'kind: [' };
    await using dir = await setting(files);
    await using source = await dir.open();
    assert.deepEqual(services(source), ['n/a']);
    assert.deepEqual([...source.cell.current.files.keys()], ['a.yaml', 'cell.yaml']);
  });

  test('is one cell; a change is in force as a whole', async () => {
    await using dir = await setting({ 'cell.yaml': cell, 'a.yml': policy('a'), 'notes.txt': 'no manifest' });
    await using source = await dir.open();
    assert.deepEqual(services(source), ['n/a']);
    const before = source.cell.current.compiled.version;
    await dir.write({ 'b.yaml': `${policy('b')}---${policy('c')}` });
    await eventually(() => assert.deepEqual(services(source), ['n/a', 'n/b', 'n/c']));
    assert.notEqual(source.cell.current.compiled.version, before);
    await rm(join(dir.directory.path, 'b.yaml'));
    await eventually(() => assert.deepEqual(services(source), ['n/a']));
    assert.equal(source.cell.current.compiled.version, before);
  });

  test('is looked at again even where the system tells of no change', async () => {
    await using dir = await setting({ 'cell.yaml': cell });
    const clock = new FakeClock();
    await using source = await dir.open(clock);
    await dir.write({ 'a.yaml': policy('a') });
    await eventually(async () => {
      await clock.advance(5_000);
      assert.deepEqual(services(source), ['n/a']);
    });
  });

  for (const [what, files, problem] of [
    [
      'a key that is misspelt',
      { 'b.yaml': policy('b', '  alow: []\n') },
      /^b\.yaml:9:3: unknown key `alow`; did you mean `allow`\?/,
    ],
    ['no YAML', { 'b.yaml': 'a: [' }, /^b\.yaml:1:\d+: /],
    ['a second manifest of a service account', { 'b.yaml': policy('a') }, /^b\.yaml:2:1: a second manifest for n\/a/],
    [
      'a host of another one',
      { 'b.yaml': policy('b', '  hosts: [b, a]\n') },
      /^b\.yaml:9:14: host a belongs to n\/a already/,
    ],
    [
      'a scope that is not in the catalogue',
      { 'b.yaml': policy('b', reading('a:write')) },
      /^b\.yaml:9:\d+: scope a:write is not in the catalogue of cell\.yaml/,
    ],
    [
      'a call to nobody',
      { 'b.yaml': policy('b', '  calls: [{ to: n/x }]\n') },
      /^b\.yaml:9:\d+: no manifest declares n\/x/,
    ],
    ['a second cell', { 'cell-2.yaml': cell.replaceAll('cell-1', 'cell-2') }, /a second Cell document/],
    ['another cell in place of this', { 'cell.yaml': cell.replaceAll('cell-1', 'cell-2') }, /cannot become cell-2/],
    ['no cell', { 'cell.yaml': policy('b') }, /no file holds a Cell document/],
    ['a file of five megabytes', { 'b.yaml': `# ${'x'.repeat(5 * 1024 * 1024)}` }, /longer than 4194304 bytes/],
  ] as const) {
    test(`with ${what} is refused whole, with the place, while the old one stays; corrected it is in force`, async () => {
      await using dir = await setting({ 'cell.yaml': cell, 'a.yaml': policy('a') });
      await using source = await dir.open();
      const before = source.cell.current;
      await dir.write({ ...files, 'c.yaml': policy('c') });
      await eventually(() => assert.match(source.problems.join('\n'), problem));
      assert.equal(source.cell.current, before);
      await dir.write({ 'cell.yaml': cell });
      for (const name of Object.keys(files)) if (name !== 'cell.yaml') await rm(join(dir.directory.path, name));
      await eventually(() => assert.deepEqual(services(source), ['n/a', 'n/c']));
      assert.deepEqual(source.problems, []);
    });
  }

  test('that is wrong from the beginning is an error: there is nothing older to go on with', async () => {
    await using dir = await setting({ 'cell.yaml': cell, 'a.yaml': policy('a', '  alow: []\n') });
    await assert.rejects(dir.open(), { code: 'document_invalid' });
    await using empty = await setting({});
    await assert.rejects(empty.open(), { code: 'document_invalid', message: /no file holds a Cell document/ });
    const nowhere = DirectoryPolicySource.open({ directory: '/nonexistent', clock: systemClock, logger: silentLogger });
    await assert.rejects(nowhere, { code: 'file_unreadable' });
  });
});
