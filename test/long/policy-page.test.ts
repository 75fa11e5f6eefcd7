import assert from 'node:assert/strict';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { launcher, startUp } from '../support/command.ts';
import { blocksOf, runScript, withOutputs, withoutChances } from '../support/page.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const pagePath = join(import.meta.dirname, '../../docs/policy.md');
/** `UPDATE_PAGES=1` writes what is printed into the page. */
const isUpdate = process.env['UPDATE_PAGES'] === '1';
/** Records, counts and policies arrive a moment after what they are about. */
const settleMs = 1_500;

/** Counts of requests depend on when a candidate is withdrawn, and on what else was recorded. */
const hasNumbers = /policy (rollout|plan|generate)/;

interface Demo {
  readonly accountId: string;
  readonly keys: readonly { readonly secret: string }[];
}

test('every command of docs/policy.md prints what the page shows', { timeout: 300_000 }, async () => {
  await using directory = await temporaryDirectory();
  const stateDir = join(directory.path, '.cellmesh');
  await using up = await startUp(stateDir);
  await symlink(launcher, join(directory.path, 'cellmesh'));
  const demo = JSON.parse(await readFile(join(stateDir, 'demo.json'), 'utf8')) as Demo;
  const [customer, reader] = demo.keys.map(({ secret }) => `${demo.accountId}:${secret}`);
  const environment = { CUSTOMER: customer!, READER: reader!, CURL_CA_BUNDLE: '.cellmesh/edge/authority.pem' };
  const page = await readFile(pagePath, 'utf8');
  const seen = { message: '', decision: '' };
  const run = async (script: string) => {
    const there = script
      .replaceAll('14443', String(up.portBase + 443))
      .replaceAll('<message>', seen.message)
      .replaceAll('<decision>', seen.decision);
    const output = await runScript(there, { directory: directory.path, environment });
    seen.message = /"id":"([0-9a-f]+)"/.exec(output)?.[1] ?? seen.message;
    seen.decision = /"decision":"([^"]+)"/.exec(output)?.[1] ?? seen.decision;
    // Ports as a first installation has them.
    return output.replace(/\b\d{5}\b/g, (number) => {
      const offset = Number(number) - up.portBase;
      return offset >= 0 && offset < 1_000 ? String(14_000 + offset) : number;
    });
  };

  const outputs: string[] = [];
  for (const block of blocksOf(page)) {
    await delay(settleMs);
    if (block.kind === 'script') {
      assert.equal(await run(block.text), '', block.text);
      continue;
    }
    for (const { command, output } of block.commands) {
      const printed = await run(command);
      assert.doesNotMatch(printed, /\[internal\]/);
      outputs.push(printed);
      const numbers = hasNumbers.test(command);
      if (!isUpdate) assert.equal(withoutChances(printed, { numbers }), withoutChances(output, { numbers }), command);
    }
  }
  if (isUpdate) await writeFile(pagePath, withOutputs(page, outputs));
});
