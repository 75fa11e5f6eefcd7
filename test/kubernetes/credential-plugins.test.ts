import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { runCommand } from '../support/command.ts';
import { type KubernetesServer, startKubernetes } from '../support/kubernetes.ts';
import { createNamespace, createServiceAccount, createToken } from '../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';

const programs = kubernetesPrograms();
const apiVersion = 'client.authentication.k8s.io/v1';

/** Prints the n-th of the credentials beside it, and the last one again. */
const plugin = `#!/usr/bin/env node
const { appendFileSync, readFileSync } = require('node:fs');
const { join } = require('node:path');
appendFileSync(join(__dirname, 'runs'), '.');
process.stderr.write('plugin: who are you?\\n');
const all = JSON.parse(readFileSync(join(__dirname, 'credentials.json'), 'utf8'));
const status = all[Math.min(readFileSync(join(__dirname, 'runs')).length, all.length) - 1];
process.stdout.write(JSON.stringify({ apiVersion: '${apiVersion}', kind: 'ExecCredential', status }));
`;

describe('a kubeconfig whose user has a plugin', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  let admin: object;
  let token: string;
  const beside = (name: string) => join(server.directory, name);
  const runs = async () => (await readFile(beside('runs'), 'utf8')).length;
  const gives = (...credentials: readonly object[]) =>
    writeFile(beside('credentials.json'), JSON.stringify(credentials));
  const run = (...args: readonly string[]) => runCommand([...args, '--kubeconfig', beside('whole')]);

  before(async () => {
    if ('skip' in programs) return;
    server = await startKubernetes(programs);
    await createNamespace(server, 'people');
    await createServiceAccount(server, 'people', 'me');
    await server.send('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'people-me' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', namespace: 'people', name: 'me' }],
    });
    token = await createToken(server, { namespace: 'people', name: 'me' });
    const [chain, key] = await Promise.all(
      ['pki/admin.crt', 'pki/admin.key'].map((name) => readFile(beside(name), 'utf8')),
    );
    admin = { clientCertificateData: chain, clientKeyData: key };
    await writeFile(beside('login.cjs'), plugin, { mode: 0o755 });
    const exec = { apiVersion, command: './login.cjs', interactiveMode: 'IfAvailable', provideClusterInfo: true };
    const users = [{ name: 'me', user: { exec } }];
    const cluster = { server: server.url, 'certificate-authority': 'pki/ca.crt' };
    const clusters = [
      { name: 'here', cluster },
      { name: 'nowhere', cluster: { server: 'https://nowhere.invalid' } },
    ];
    const contexts = ['here', 'nowhere'].map((name) => ({ name, context: { cluster: name, user: 'me' } }));
    await writeFile(beside('users'), JSON.stringify({ users, 'current-context': 'here' }));
    await writeFile(beside('clusters'), JSON.stringify({ clusters, contexts, 'current-context': 'nowhere' }));
    await writeFile(beside('whole'), JSON.stringify({ users, clusters, contexts, 'current-context': 'here' }));
  });
  after(() => server?.[Symbol.asyncDispose]());
  beforeEach(() => server && writeFile(beside('runs'), ''));

  test('is good for `install`, by a client certificate, and the plugin runs once', async () => {
    await gives(admin);
    const { code, stdout, stderr } = await run('install', 'cell', '--apply', '--json');
    assert.equal(code, 0, stderr);
    assert.ok(JSON.parse(stdout).applied.length > 10);
    assert.match(stderr, /^plugin: who are you\?$/m);
    assert.equal(await runs(), 1);
  });

  test('is good for `check`, by a token', async () => {
    await gives({ token });
    const { stdout, stderr } = await run('check', '--only', 'kubernetes-version,replicas,namespaces', '--json');
    const { checks } = JSON.parse(stdout) as { checks: { id: string; verdict: string }[] };
    assert.equal(checks.length, 3, stderr);
    assert.deepEqual(
      checks.filter(({ verdict }) => verdict === 'unknown'),
      [],
    );
  });

  test('is asked for others once when the API server does not take them', async () => {
    await gives({ token: 'stale' }, { token });
    const { code, stdout, stderr } = await run('uninstall', 'cell', '--dry-run');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^\d\d objects would be deleted/);
    assert.equal(await runs(), 2);
    await gives({ token: 'stale' });
    const refused = await run('uninstall', 'cell', '--dry-run');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /Unauthorized/);
    assert.doesNotMatch(refused.stderr, /stale/);
    assert.equal(await runs(), 4);
  });

  test('renews a client certificate for connections too', async () => {
    const [chain, key] = await Promise.all(
      ['pki/server.crt', 'pki/server.key'].map((name) => readFile(beside(name), 'utf8')),
    );
    // One for servers: nobody, to an API server.
    await gives({ clientCertificateData: chain, clientKeyData: key }, admin);
    const { code, stderr } = await run('uninstall', 'cell', '--dry-run');
    assert.equal(code, 0, stderr);
    assert.equal(await runs(), 2);
  });

  test('may be one of several files, of which --context chooses', async () => {
    await gives({ token });
    const environment = { KUBECONFIG: ['users', 'not-there', 'clusters'].map(beside).join(delimiter) };
    const uninstall = (...args: readonly string[]) =>
      runCommand(['uninstall', 'cell', '--dry-run', ...args], '', environment);
    const { code, stderr } = await uninstall();
    assert.equal(code, 0, stderr);
    const elsewhere = await uninstall('--context', 'nowhere');
    assert.equal(elsewhere.code, 69);
    assert.match(elsewhere.stderr, /nowhere\.invalid/);
    const install = await run('install', 'cell', '--apply', '--context', 'gone');
    assert.match(install.stderr, /there is no context `gone` \[config_invalid\]/);
  });
});
