import assert from 'node:assert/strict';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Plan } from '#policy/plan/plan.ts';
import { runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { type Cell, startCell } from '../support/start-cell.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** A whole cell, requests through it, and what the command says of other manifests: the control plane is asked, as a user does it. */
describe('`policy plan`', () => {
  let cell: Cell;
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let control: readonly string[];

  before(async () => {
    directory = await temporaryDirectory();
    cell = await startCell();
    const admin = join(cell.manifestsDir, '../control-plane/admin');
    control = ['--address', `127.0.0.1:${cell.controlPlane.address.port}`, '--admin', admin];
    for (const scope of ['messages:read', 'messages:write', 'messages:read messages:write']) {
      const token = await cell.mint({ scope });
      await cell.callAsRouter({ token, path: '/v1/messages' });
      await cell.callAsRouter({ token, path: '/v1/messages', method: 'POST', body: 'x' });
    }
    await eventually(async () => assert.equal((await planOf('same')).decisions, 18));
  });

  after(async () => {
    await cell[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  async function manifestsWith(name: string, edit: (text: string) => string): Promise<string> {
    const path = join(directory.path, name);
    await mkdir(path, { recursive: true });
    await cp(cell.manifestsDir, path, { recursive: true });
    const file = join(path, 'services.yaml');
    await writeFile(file, edit(await readFile(file, 'utf8')));
    return path;
  }

  const run = (manifests: string, ...options: string[]) =>
    runCommand(['policy', 'plan', manifests, ...control, ...options]);

  async function planOf(name: string, edit = (text: string) => text, ...options: string[]): Promise<Plan> {
    const { code, stdout, stderr } = await run(await manifestsWith(name, edit), '--json', ...options);
    assert.deepEqual([code, stderr], [0, '']);
    return JSON.parse(stdout);
  }

  const withoutWrite = (text: string) =>
    text.replace('carry: [messages:read, messages:write]', 'carry: [messages:read]');
  const groupsOf = ({ groups }: Plan) =>
    groups.map(({ change, at, peer, service, before, after, decisions }) =>
      [change, at, `${peer} -> ${service}`, before, after, decisions].join(', '),
    );

  test('of the manifests in force changes nothing, and says so', async () => {
    const { code, stdout } = await run(await manifestsWith('same', (text) => `# in other words\n${text}`));
    assert.equal(code, 0);
    assert.match(stdout, /^Plan: 18 decisions from .*compared with what was decided\.\n\nNothing changes: /);
  });

  test('says what is denied where a caller carries less, also at the services behind', async () => {
    const { code, stdout } = await run(await manifestsWith('less', withoutWrite));
    assert.equal(code, 0);
    const id = /such as {3}(\S+) {2}POST \/v1\/deliveries\n/.exec(stdout)?.[1] ?? '';
    assert.equal((await cell.findDecision(id)).rule, 'deliver');
    assert.match(
      stdout,
      /\n {2}- newly denied {3}4 decisions, 1 account, in 3 groups\n {2}\+ newly allowed {2}0 decisions\n {2}\? unknown {8}0 decisions\n/,
    );
    assert.deepEqual(groupsOf(await planOf('less', withoutWrite)).sort(), [
      'newlyDenied, inbound, messaging/api -> messaging/messaging, rule write, scope_not_carried, 1',
      'newlyDenied, inbound, messaging/api -> messaging/messaging, rule write, scope_not_carried, 1',
      'newlyDenied, inbound, messaging/messaging -> messaging/delivery, rule deliver, scope_not_carried, 2',
    ]);
  });

  test('says which side refuses a call that is no longer declared', async () => {
    const plan = await planOf('undeclared', (text) =>
      text.replace('  calls:\n    - { to: messaging/delivery, carry: [messages:write] }\n', ''),
    );
    assert.deepEqual(groupsOf(plan).sort(), [
      'newlyDenied, inbound, messaging/messaging -> messaging/delivery, rule deliver, peer_not_declared, 2',
      'newlyDenied, outbound, messaging/messaging -> messaging/delivery, allowed, not_declared, 2',
    ]);
  });

  test('has what a new rule allows, and what it leaves open for want of a claim', async () => {
    const rule = (more: string) => (text: string) =>
      text.replace('  allow:\n', `  allow:\n    - { name: new, from: [router], http: { methods: [POST] }${more} }\n`);
    assert.deepEqual(groupsOf(await planOf('wider', rule(''))), [
      'newlyAllowed, inbound, router -> messaging/api, scope_missing, rule new, 1',
    ]);
    const claim = ', claims: [{ pointer: /plan, equals: gold }]';
    assert.deepEqual(groupsOf(await planOf('gold', rule(claim))), [
      'unknown, inbound, router -> messaging/api, scope_missing, the claim /plan was not recorded, 1',
    ]);
  });

  test('ends with 1 for a change that must not be', async () => {
    const manifests = await manifestsWith('less', withoutWrite);
    const failing = await run(manifests, '--fail-on', 'unknown', '--fail-on', 'newly-denied');
    assert.deepEqual([failing.code, failing.stderr], [1, 'cellmesh: newly-denied: 4 [--fail-on]\n']);
    assert.equal((await run(manifests, '--fail-on', 'newly-allowed')).code, 0);
    assert.equal((await run(manifests, '--fail-on', 'anything')).code, 64);
  });

  test('ends with 64 and every problem where the new manifests are wrong', async () => {
    const { code, stderr } = await run(await manifestsWith('wrong', (text) => text.replace('GET', 'get')));
    assert.equal(code, 64);
    assert.match(stderr, /services\.yaml:\d+:\d+: "get" is no method/);
  });

  test('takes decisions from the files of sidecars as well', async () => {
    const against = ['--against', join(cell.manifestsDir, '..')];
    const plan = await planOf('less', withoutWrite, ...against);
    assert.equal(plan.decisions, 18);
    // The manifests of then are not known: what left `messaging` is taken to have come to it as then.
    assert.equal(plan.newlyDenied.decisions, 4);
    assert.deepEqual(groupsOf(await planOf('same', (text) => text, ...against)), []);
  });

  test('compares with other manifests: those of a directory, or of a version', async () => {
    const old = await manifestsWith('less', withoutWrite);
    const plan = await planOf('same', (text) => text, '--from-policy', old);
    assert.deepEqual([plan.newlyAllowed.decisions, plan.newlyDenied.decisions, plan.unknown.decisions], [4, 0, 0]);
    const version = (await cell.findDecision(plan.groups[0]!.examples[0]!.id)).policyVersion;
    const against = ['--from-policy', `@${version}`, '--against', join(cell.manifestsDir, '..')];
    assert.equal((await planOf('less', withoutWrite, ...against)).newlyDenied.decisions, 4);
  });

  test('shows what enforcing would refuse', async () => {
    const audit = (text: string) => withoutWrite(text).replaceAll('mode: enforce', 'mode: audit');
    const plan = await planOf('audit', audit);
    assert.deepEqual([plan.newlyAllowed.decisions, plan.newlyDenied.decisions], [2, 0]);
    assert.equal((await planOf('audit', audit, '--as-enforced')).newlyDenied.decisions, 4);
  });

  test('is about one service, or about a span of time, where that is asked for', async () => {
    const plan = await planOf('less', withoutWrite, '--service', 'messaging/delivery');
    assert.deepEqual([plan.decisions, plan.newlyDenied.decisions], [4, 2]);
    assert.equal((await planOf('less', withoutWrite, '--until', '1h')).decisions, 0);
    assert.match((await run(await manifestsWith('same', (text) => text), '--until', '1h')).stdout, /^No decisions are/);
  });
});
