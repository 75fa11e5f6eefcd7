import assert from 'node:assert/strict';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import { launcher } from '../support/command.ts';
import { setDeploymentReady } from '../support/deployment-status.ts';
import { eventually } from '../support/eventually.ts';
import { startKubernetes } from '../support/kubernetes.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';
import { blocksOf, runScript, withOutputs } from '../support/page.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const root = join(import.meta.dirname, '../..');
const pagePath = join(root, 'docs/install.md');
/** `UPDATE_PAGES=1` writes what is printed into the page. */
const isUpdate = process.env['UPDATE_PAGES'] === '1';
const programs = kubernetesPrograms();

test('commands print what docs/install.md shows', {
  skip: 'skip' in programs && programs.skip,
  timeout: 60_000,
}, async () => {
  if ('skip' in programs) return;
  await using server = await startKubernetes(programs);
  await using directory = await temporaryDirectory();
  const page = await readFile(pagePath, 'utf8');
  await symlink(join(root, 'examples'), join(directory.path, 'examples'));
  await writeFile(join(directory.path, 'values.yaml'), /^```yaml values\n([\s\S]*?)^```$/m.exec(page)![1]!);
  const environment = {
    HOME: directory.path,
    KUBECONFIG: server.kubeconfig,
    PATH: [dirname(launcher), dirname(programs.kubectl), process.env['PATH']].join(delimiter),
  };
  // No controller runs here: what it would say of the pods is said when the Deployment is there.
  const isReady = eventually(() => setDeploymentReady(server, 'cellmesh', 'cellmesh-control-plane'), 30_000);
  const outputs: string[] = [];
  for (const block of blocksOf(page)) {
    if (block.kind !== 'console') continue;
    for (const { command, output } of block.commands) {
      const printed = await runScript(command, { directory: directory.path, environment });
      outputs.push(printed);
      if (!isUpdate) assert.equal(printed, output, command);
    }
  }
  await isReady;
  assert.ok(outputs.length > 0);
  if (isUpdate) await writeFile(pagePath, withOutputs(page, outputs));
});
