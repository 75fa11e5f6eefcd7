import assert from 'node:assert/strict';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { runCommand } from '../support/command.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const examples = join(import.meta.dirname, '../../examples/messaging/policy');

describe('`policy diff`', () => {
  test('says in words what changed, and whether that allows more', async () => {
    await using directory = await temporaryDirectory();
    const after = join(directory.path, 'after');
    await cp(examples, after, { recursive: true });
    const delivery = join(after, 'delivery.yaml');
    const text = await readFile(delivery, 'utf8');
    await writeFile(
      delivery,
      text
        .replace('scopes: [deliveries:cancel]', 'scopes: [deliveries:create]')
        .replace('carry: [deliveries:create, ', 'carry: ['),
    );
    const { code, stdout, stderr } = await runCommand(['policy', 'diff', examples, after]);
    assert.deepEqual([code, stderr], [0, '']);
    assert.equal(
      stdout,
      `messaging/delivery
  rule cancel: different
    scopes: deliveries:cancel -> deliveries:create (different)
  call to messaging/carrier: narrower
    carry: deliveries:create, deliveries:read -> deliveries:read (narrower)

2 changes: 1 narrower, 1 different
`,
    );
    const { stdout: json } = await runCommand(['policy', 'diff', examples, after, '--json']);
    const scopes = {
      what: 'scopes',
      kind: 'changed',
      effect: 'different',
      before: 'deliveries:cancel',
      after: 'deliveries:create',
    };
    const [{ subject, changes }] = JSON.parse(json) as [{ subject: string; changes: unknown[] }];
    assert.equal(subject, 'messaging/delivery');
    assert.deepEqual(changes[0], { what: 'rule cancel', kind: 'changed', effect: 'different', fields: [scopes] });
  });

  test('finds nothing between a directory and itself', async () => {
    const { code, stdout } = await runCommand(['policy', 'diff', examples, examples]);
    assert.deepEqual([code, stdout], [0, 'no difference\n']);
  });

  test('ends with a code of its own for what it cannot use', async () => {
    await using directory = await temporaryDirectory();
    const broken = join(directory.path, 'broken');
    await cp(examples, broken, { recursive: true });
    await rm(join(broken, 'store.yaml'));
    const nowhere = join(directory.path, 'nowhere');
    const cases: readonly [readonly string[], number, RegExp][] = [
      [[examples, broken], 64, /messaging\.yaml:\d+:7: no manifest declares messaging\/store \[document_invalid\]/],
      [[examples, nowhere], 66, /cannot be read/],
      [[examples], 64, /missing required argument 'after'/],
      [[examples, '@x', '--state', nowhere], 66, /is no state directory/],
    ];
    for (const [args, code, said] of cases) {
      const result = await runCommand(['policy', 'diff', ...args]);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, said);
    }
  });

  test('has a help with examples', async () => {
    const { code, stdout } = await runCommand(['policy', 'diff', '--help']);
    assert.equal(code, 0);
    assert.match(stdout, /Examples:\n {2}cellmesh policy diff policy\//);
  });
});
