import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Finding, Verdict } from '#cli/check/check-definition.ts';
import { type CommandResult, type RunningUp, runCommand, startUp } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

interface Told {
  readonly failed: boolean;
  readonly checks: readonly { readonly id: string; readonly verdict: Verdict; readonly findings: readonly Finding[] }[];
}

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let stateDir: string;
let up: RunningUp;

before(async () => {
  directory = await temporaryDirectory();
  stateDir = join(directory.path, 'state');
  up = await startUp(stateDir);
});

after(async () => {
  await up?.[Symbol.asyncDispose]();
  await directory?.[Symbol.asyncDispose]();
});

function check(...args: readonly string[]): Promise<CommandResult> {
  return runCommand(['check', '--state', stateDir, ...args]);
}

async function told(...args: readonly string[]): Promise<Told & { readonly code: number | null }> {
  const { code, stdout, stderr } = await check('--json', ...args);
  assert.equal(stderr, '');
  return { code, ...(JSON.parse(stdout) as Told) };
}

/** What one check says. */
async function say(id: string): Promise<{ code: number | null; verdict: Verdict; text: string }> {
  const { code, checks } = await told('--only', id);
  const [{ verdict, findings }] = checks as [Told['checks'][number]];
  return { code, verdict, text: findings.map(({ what }) => what).join('\n') };
}

/** Changes a manifest for as long as `use` takes. */
async function withPolicy(file: string, edit: (text: string) => string, use: () => Promise<void>): Promise<void> {
  const path = join(stateDir, 'policy', file);
  const text = await readFile(path, 'utf8');
  assert.notEqual(edit(text), text);
  await writeFile(path, edit(text));
  try {
    await use();
  } finally {
    await writeFile(path, text);
  }
}

describe('a cell that runs', () => {
  test('passes everything', async () => {
    await eventually(async () => {
      const { code, failed, checks } = await told('--strict');
      assert.deepEqual(
        checks.filter(({ verdict }) => verdict !== 'ok').map(({ id, findings }) => [id, findings]),
        [],
      );
      assert.equal(failed, false);
      assert.equal(code, 0);
    });
  });

  test('has roots that end before a thousand years are over', async () => {
    const { code, stdout } = await check('--only', 'certificates', '--fail-before', '365000d');
    assert.equal(code, 1);
    assert.match(stdout, /FAIL +roots-end +the root of the cell ends in \d+ d; it should hold for 365000d\n +-> /);
    assert.match(stdout, /ok +svids-end/);
  });

  test('tells of a call that its callee does not allow', async () => {
    await withPolicy(
      'store.yaml',
      (text) => text.replace('from: [messaging/messaging]', 'from: [messaging/delivery]'),
      async () => {
        const { code, verdict, text } = await say('policy-one-sided');
        assert.equal(verdict, 'warn');
        assert.match(text, /call-not-allowed/);
        assert.equal(code, 0);
        assert.equal((await check('--only', 'policy-one-sided', '--strict')).code, 1);
      },
    );
  });

  test('tells why its newest manifests are not in force', async () => {
    await withPolicy(
      'store.yaml',
      (text) => text.replace('mode: enforce', 'mode: enforcing'),
      async () => {
        await eventually(async () => {
          const { code, verdict, text } = await say('policy-in-force');
          assert.equal(verdict, 'fail');
          assert.match(text, /refused: store\.yaml:\d+/);
          assert.equal(code, 1);
        });
      },
    );
  });

  test('tells of a key that others can read', async () => {
    const key = join(stateDir, 'router', 'signing.pem');
    await chmod(key, 0o640);
    const { code, verdict, text } = await say('state-permissions');
    await chmod(key, 0o600);
    assert.equal(verdict, 'fail');
    assert.match(text, /signing\.pem has mode 640/);
    assert.equal(code, 1);
  });
});

describe('the command', () => {
  test('refuses a check that there is not, and a duration that is none', async () => {
    for (const args of [
      ['--only', 'nothing'],
      ['--skip', 'nothing'],
      ['--fail-before', 'soon'],
      ['--only', 'clock', '--skip', 'control plane'],
    ]) {
      const { code, stderr } = await check(...args);
      assert.equal(code, 64, args.join(' '));
      assert.match(stderr, /\[config_invalid\]/);
    }
  });

  test('lists the checks without a cell', async () => {
    const { code, stdout } = await runCommand(['check', '--list', '--state', join(directory.path, 'nowhere')]);
    assert.equal(code, 0);
    assert.match(stdout, /^CHECK +GROUP +WHERE +ANSWERS\nnode-version +programs +machine, cluster +Does every/);
  });

  test('says that there is nothing to look at', async () => {
    const { code, stderr } = await runCommand(['check', '--state', join(directory.path, 'nowhere')]);
    assert.equal(code, 66);
    assert.match(stderr, /\[installation_missing\]/);
  });
});

describe('a cell that was stopped', () => {
  before(() => up.interrupt());

  test('fails, and says of everything else what it can', async () => {
    const { code, checks } = await told();
    assert.equal(code, 1);
    const verdictOf = (id: string) => checks.find((one) => one.id === id)?.verdict;
    assert.deepEqual(
      [
        'control-plane',
        'clock',
        'sidecars',
        'sidecar-keys',
        'processes',
        'ports',
        'roots-end',
        'svids-end',
        'policy-errors',
      ].map(verdictOf),
      ['fail', 'unknown', 'fail', 'unknown', 'fail', 'ok', 'ok', 'ok', 'ok'],
    );
  });
});

test('a cell whose certificates have ended is looked at all the same', async () => {
  await using place = await temporaryDirectory();
  const state = join(place.path, 'state');
  const short = await startUp(state, { environment: { CELLMESH_SVID_LIFETIME: '10s' } });
  await short.interrupt();
  await eventually(async () => {
    const { code, stdout } = await runCommand(['check', '--state', state, '--only', 'certificates,control plane']);
    assert.equal(code, 1);
    assert.match(
      stdout,
      /FAIL +svids-end +the SVID of messaging\/api ended \d+ s ago\n +-> it should have been renewed/,
    );
    assert.match(stdout, /FAIL +svids-end +the SVID of the administrator of the control plane ended/);
    assert.match(stdout, /FAIL +control-plane +/);
    assert.match(stdout, /ok +roots-end +2 roots/);
  }, 20_000);
});
