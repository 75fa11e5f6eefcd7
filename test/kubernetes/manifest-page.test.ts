import assert from 'node:assert/strict';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { startApiServer } from '../support/kubernetes-api-server.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';
import { blocksOf, runScript, withOutputs } from '../support/page.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const root = join(import.meta.dirname, '../..');
const pagePath = join(root, 'docs/manifest.md');
/** `UPDATE_PAGES=1` writes what is printed into the page. */
const isUpdate = process.env['UPDATE_PAGES'] === '1';
const programs = kubernetesPrograms();
const withoutAge = (text: string) => text.replace(/\b\d+s$/gm, '0s');

test('kubectl prints what docs/manifest.md shows', { skip: 'skip' in programs && programs.skip }, async () => {
  if ('skip' in programs) return;
  await using api = await startApiServer(programs);
  await using directory = await temporaryDirectory();
  const page = await readFile(pagePath, 'utf8');
  for (const name of ['k8s', 'examples']) await symlink(join(root, name), join(directory.path, name));
  await writeFile(join(directory.path, 'carrier.yaml'), /^```yaml kubernetes\n([\s\S]*?)^```$/m.exec(page)![1]!);
  const environment = {
    HOME: directory.path,
    KUBECONFIG: api.kubeconfig,
    PATH: `${dirname(programs.kubectl)}${delimiter}${process.env['PATH']}`,
  };
  // Whoever asks in the moment after it is established may be told that there is no such kind.
  const isDiscovered = () =>
    eventually(async () => {
      const { body } = await api.request('GET', '/apis/cellmesh.io/v1alpha1');
      for (const kind of ['ServicePolicy', 'Cell']) assert.match(JSON.stringify(body), new RegExp(`"${kind}"`));
    });
  const outputs: string[] = [];
  for (const block of blocksOf(page)) {
    if (block.kind !== 'console') continue;
    for (const { command, output } of block.commands) {
      const printed = withoutAge(await runScript(command, { directory: directory.path, environment }));
      if (command.startsWith('kubectl wait')) await isDiscovered();
      outputs.push(printed);
      if (!isUpdate) assert.equal(printed, output, command);
    }
  }
  assert.ok(outputs.length > 0);
  if (isUpdate) await writeFile(pagePath, withOutputs(page, outputs));
});
