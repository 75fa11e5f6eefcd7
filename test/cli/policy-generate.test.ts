import assert from 'node:assert/strict';
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { compileCell } from '#policy/compile.ts';
import { readManifests } from '#policy/read-manifests.ts';
import { readYamlFiles } from '#runtime/yaml-files.ts';
import { runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { type Cell, startCell } from '../support/start-cell.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

describe('`policy generate`', () => {
  let cell: Cell;
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let control: readonly string[];

  before(async () => {
    directory = await temporaryDirectory();
    cell = await startCell();
    const admin = join(cell.manifestsDir, '../control-plane/admin');
    control = ['--address', `127.0.0.1:${cell.controlPlane.address.port}`, '--admin', admin];
    const token = await cell.mint({ scope: 'messages:read messages:write billing:write' });
    for (let n = 0; n < 6; n++) await cell.callAsRouter({ token, path: `/v1/orders/${n}` });
    await cell.callAsRouter({ token, path: '/v1/messages' });
    await cell.callAsRouter({ token, path: '/v1/messages', method: 'POST', body: 'x' });
    await cell.services.api.call({
      ...{ authority: 'messaging', method: 'POST', path: '/v1/expire' },
      headers: { 'cellmesh-as': 'self' },
    });
    await eventually(async () => {
      const { stdout } = await run('plan', cell.manifestsDir, '--json');
      assert.equal(JSON.parse(stdout).decisions, 28, stdout);
    });
  });

  after(async () => {
    await cell[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  const run = (verb: string, ...options: string[]) => runCommand(['policy', verb, ...options, ...control]);

  /** What it prints, as manifests of a directory, with a Cell document. */
  async function generated(name: string, ...options: string[]): Promise<{ path: string; yaml: string }> {
    const { code, stdout, stderr } = await run('generate', ...options);
    assert.deepEqual([code, stderr], [0, '']);
    const path = join(directory.path, name);
    await mkdir(path);
    await copyFile(join(cell.manifestsDir, 'cell.yaml'), join(path, 'cell.yaml'));
    await writeFile(join(path, 'services.yaml'), stdout);
    return { path, yaml: stdout };
  }

  test('prints the least manifests that allow what was seen, to be reviewed', async () => {
    const { path, yaml } = await generated('recorded', '--from', 'recorded');
    assert.match(
      yaml,
      /^# Generated from 22 decisions that allowed something, from \S+ to \S+\.\n# A starting point, /,
    );
    const { cell: document, policies } = readManifests(await readYamlFiles(path));
    compileCell(document, policies);
    const api = policies.find(({ name }) => name === 'api')!;
    assert.deepEqual([api.mode, api.expose.length], ['audit', 1]);
    const rulesOf = api.allow.map(({ value }) => [value.name, value.paths?.map(({ text }) => text), value.scopes]);
    assert.deepEqual(rulesOf, [
      ['read', ['/v1/messages', '/v1/orders/*'], ['messages:read']],
      ['write', ['/v1/messages'], ['messages:write']],
    ]);
    const [call] = api.calls.map(({ value }) => value);
    assert.deepEqual([call?.carry, call?.own], [['messages:read', 'messages:write'], ['messages:expire']]);
    const expire = policies
      .find(({ name }) => name === 'messaging')!
      .allow.find(({ value }) => value.name === 'expire');
    assert.equal(expire?.value.account, 'none');
    // Rules that nothing was seen of are not there.
    assert.doesNotMatch(yaml, /peek|bill/);
  });

  test('prints manifests that deny nothing of what was seen, also when they are enforced', async () => {
    const { path } = await generated('all', '--from', 'recorded');
    const plan = (manifests: string, ...options: string[]) => run('plan', manifests, '--as-enforced', ...options);
    const { code, stderr } = await plan(path, '--fail-on', 'newly-denied', '--fail-on', 'unknown');
    assert.deepEqual([code, stderr], [0, '']);
    const files = await generated('disk', '--from', join(cell.manifestsDir, '..'));
    const open = await plan(files.path, '--fail-on', 'newly-denied');
    assert.deepEqual([open.code, open.stderr], [0, '']);
    // Nothing that was seen says which hosts it has.
    assert.match(
      open.stdout,
      /unknown: by which host it was called is not recorded, and api.cellmesh.localhost is gone/,
    );
  });

  test('knows less from files alone: the scopes that all had, and no more of a service than its ports', async () => {
    const { yaml } = await generated('files', '--from', join(cell.manifestsDir, '..'));
    assert.match(
      yaml,
      /# No manifest of it is known: correct hosts and protocols\.\n# Routers call it: say with `expose`/,
    );
    assert.match(
      yaml,
      /paths: \[\/v1\/messages, "\/v1\/orders\/\*"\] }\n {6}scopes: \[billing:write, messages:read, messages:write\]/,
    );
    const known = await generated('known', '--from', join(cell.manifestsDir, '..'), '--policy', cell.manifestsDir);
    assert.equal(known.yaml, (await generated('again', '--from', 'recorded')).yaml);
  });

  test('writes a file for each service, and none over another', async () => {
    const to = join(directory.path, 'files-of-services');
    const files = ['messaging-api.yaml', 'messaging-delivery.yaml', 'messaging-messaging.yaml'];
    const { code, stdout } = await run('generate', '--from', 'recorded', '--to', to);
    assert.deepEqual([code, stdout.trim().split('\n')], [0, files.map((file) => join(to, file))]);
    assert.deepEqual((await readdir(to)).sort(), files);
    const again = await run('generate', '--from', 'recorded', '--to', to);
    assert.deepEqual([again.code, /EEXIST/.test(again.stderr)], [64, true]);
  });

  test('prints one service, and the same as JSON', async () => {
    const { stdout } = await run('generate', '--from', 'recorded', '--service', 'messaging/delivery', '--json');
    const { decisions, allowed, leftOut, manifests } = JSON.parse(stdout);
    assert.deepEqual([decisions, allowed, leftOut, manifests.length], [28, 22, 0, 1]);
    const [{ service, document, requests }] = manifests;
    assert.deepEqual([service, requests], ['messaging/delivery', { deliver: 1 }]);
    assert.deepEqual(document.spec.allow, [
      {
        ...{ name: 'deliver', from: ['messaging/messaging'], scopes: ['messages:write'] },
        http: { methods: ['POST'], paths: ['/v1/deliveries'] },
      },
    ]);
    const { code, stderr } = await run('generate', '--from', 'recorded', '--service', 'messaging/nobody');
    assert.deepEqual(
      [code, stderr],
      [66, 'cellmesh: no allowed request of messaging/nobody is recorded [not_found]\n'],
    );
  });
});
