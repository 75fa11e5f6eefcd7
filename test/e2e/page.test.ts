import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { blocksOf, runScript, withOutputs, withoutChances } from '../support/page.ts';
import { findCluster, run } from './support/cluster.ts';

const root = join(import.meta.dirname, '../..');
const pagePath = join(root, 'docs/kubernetes.md');
const image = 'localhost/cellmesh:0.1.0';
/** `UPDATE_PAGES=1` writes what is printed into the page. */
const isUpdate = process.env['UPDATE_PAGES'] === '1';
const isAll = process.env['E2E_ONLY'] === undefined || 'docs'.startsWith(process.env['E2E_ONLY']);
const cluster = await findCluster(process.env);

test('every command of docs/kubernetes.md prints what the page shows', {
  skip: ('skip' in cluster && cluster.skip) || (!isAll && 'E2E_ONLY names other scenarios'),
}, async () => {
  if ('skip' in cluster) return;
  assert.equal(cluster.image, image, 'the page names the image so');
  // Of a run that was broken off.
  await run(join(root, 'cellmesh'), ['uninstall', 'cell', '--crds', '--delete-root', '--yes']);
  await cluster.kubectl(['delete', 'namespace', 'messaging', 'cellmesh', '--ignore-not-found']);

  const environment = { PATH: [dirname(process.env['KUBECTL']!), process.env['PATH']].join(delimiter) };
  const page = await readFile(pagePath, 'utf8');
  const outputs: string[] = [];
  let decision = '';
  for (const block of blocksOf(page)) {
    assert.ok(block.kind === 'console', 'scripts of the page are those of others');
    for (const { command, output } of block.commands) {
      const isOver = (printed: string) => !/\[decision_unknown\]|\[not_found\]/.test(printed);
      // Records, statuses and trust bundles arrive a moment after what they are about.
      const printed = await eventually(
        async () => {
          const now = await runScript(command.replaceAll('<decision>', decision), { directory: root, environment });
          if (!isUpdate) assert.equal(plain(now), plain(output), command);
          assert.ok(isOver(now), now);
          return now;
        },
        isRepeatable(command) ? 15_000 : 0,
        1_000,
      );
      decision = /"decision":"([^"]+)"/.exec(printed)?.[1] ?? decision;
      outputs.push(printed);
    }
  }
  if (isUpdate) await writeFile(pagePath, withOutputs(page, outputs));
});

function isRepeatable(command: string): boolean {
  return / get |explain|check/.test(command);
}

/** Without names of pods, ages and counts. */
function plain(output: string): string {
  const named = output
    .replace(/\b([a-z]+(?:-[a-z]+)*)-[0-9a-f]{8,10}-[a-z0-9]{5}\b/g, '$1-POD')
    .replace(/\b\d+(?:\.\d+)? ?(?:ms|s|m|h|d)\b/g, 'TIME');
  return withoutChances(named, { numbers: true });
}
