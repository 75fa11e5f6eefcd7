import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { inspect } from 'node:util';
import { pluginRunMs, runCredentialPlugin } from '#cli/kube/credential-plugin.ts';
import { execCredentialBytesMax } from '#cli/kube/exec-credential.ts';
import { PluginCredentials } from '#cli/kube/plugin-credentials.ts';
import type { CredentialPlugin } from '#kubernetes/credential-plugin.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const apiVersion = 'client.authentication.k8s.io/v1';
const credential = JSON.stringify({ apiVersion, kind: 'ExecCredential', status: { token: 'abc' } });

describe('a credential plugin', () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  before(async () => {
    directory = await temporaryDirectory();
  });
  after(() => directory[Symbol.asyncDispose]());

  /** A program of Node, as a plugin. */
  const pluginOf = (code: string, fields: Partial<CredentialPlugin> = {}): CredentialPlugin => {
    const args = ['--input-type=module', '--eval', code, 'hidden-argument'];
    return { apiVersion, command: process.execPath, args, env: {}, interactiveMode: 'Never', ...fields };
  };
  const printing = (text: string) => pluginOf(`process.stdout.write(${JSON.stringify(text)})`);

  test('is told what it may know, and has the variables of the file beside ours', async () => {
    const seen = join(directory.path, 'seen.json');
    const code = `
      import { writeFileSync } from 'node:fs';
      const { KUBERNETES_EXEC_INFO: info, PROFILE: profile, PATH: path } = process.env;
      const args = process.argv.slice(1);
      writeFileSync(${JSON.stringify(seen)}, JSON.stringify({ info: JSON.parse(info), profile, path, args }));
      console.log(${JSON.stringify(credential)});`;
    const cluster = {
      server: 'https://one',
      serverName: 'kube',
      authority: { value: 'PEM' },
      config: { audience: 'a' },
    };
    const plugin = pluginOf(code, { env: { PROFILE: '$(id); work' }, cluster });
    const { token } = await runCredentialPlugin(plugin, systemClock);
    assert.equal(token?.reveal(), 'abc');
    const { info, profile, path, args } = JSON.parse(await readFile(seen, 'utf8'));
    assert.deepEqual([profile, path, args], ['$(id); work', process.env['PATH'], ['hidden-argument']]);
    assert.deepEqual(info, {
      ...{ apiVersion, kind: 'ExecCredential' },
      spec: {
        interactive: false,
        cluster: {
          ...{ server: 'https://one', 'tls-server-name': 'kube', config: { audience: 'a' } },
          'certificate-authority-data': Buffer.from('PEM').toString('base64'),
        },
      },
    });
    await runCredentialPlugin(pluginOf(code), systemClock);
    assert.deepEqual(JSON.parse(await readFile(seen, 'utf8')).info.spec, { interactive: false });
  });

  const secret = 'sEcReT';
  const failures: Readonly<Record<string, readonly [() => CredentialPlugin, RegExp]>> = {
    'is not there': [
      () => pluginOf('', { command: 'no-such-plugin', installHint: 'install\n\u001b[31mit' }),
      /^the credential plugin no-such-plugin is not there: install \[31mit$/,
    ],
    'is no program': [() => pluginOf('', { command: directory.path }), /cannot be started \(EACCES\)$/],
    fails: [() => pluginOf(`process.stdout.write('${secret}'); process.exitCode = 3`), /has ended with 3; /],
    'is ended': [() => pluginOf("process.kill(process.pid, 'SIGTERM')"), /has ended with SIGTERM; /],
    'prints nothing': [() => printing(''), /has printed no JSON$/],
    'prints no JSON': [() => printing(`{"token": ${secret}}`), /has printed no JSON$/],
    'prints without an end': [
      () => pluginOf(`const more = () => process.stdout.write('${secret}'.repeat(999), more); more();`),
      new RegExp(`more than ${execCredentialBytesMax} bytes`),
    ],
    'asks somebody who is not there': [() => pluginOf('', { interactiveMode: 'Always' }), /no terminal$/],
  };
  for (const [which, [plugin, reason]] of Object.entries(failures)) {
    test(`that ${which} is told of, without what it has printed and what it was given`, async () => {
      await assert.rejects(runCredentialPlugin({ ...plugin(), env: { KEY: secret } }, systemClock), (error) => {
        assert.ok(isCellmeshError(error, 'credential_plugin_failed'));
        assert.match(error.message, reason);
        assert.doesNotMatch(inspect(error, { depth: 9 }), /sEcReT|hidden-argument/);
        return true;
      });
    });
  }

  test('has its time, and no more', async () => {
    const clock = new FakeClock();
    const pid = join(directory.path, 'pid');
    const code = `
      import { writeFileSync } from 'node:fs';
      process.on('SIGTERM', () => {});
      writeFileSync(${JSON.stringify(pid)}, String(process.pid));
      setInterval(() => {}, 1000);`;
    const running = runCredentialPlugin(pluginOf(code), clock);
    running.catch(() => {});
    const process_ = await eventually(async () => {
      const text = await readFile(pid, 'utf8');
      assert.notEqual(text, '');
      return Number(text);
    });
    await clock.advance(pluginRunMs);
    await assert.rejects(running, /takes longer than 120 s/);
    await eventually(() => assert.throws(() => process.kill(process_, 0), { code: 'ESRCH' }));
  });

  test('runs once for all who need it, and again a minute before its credentials end', async () => {
    const clock = new FakeClock(Date.parse('2026-01-01T00:00:00Z'));
    const runs = join(directory.path, 'runs');
    const code = `
      import { appendFileSync, readFileSync } from 'node:fs';
      appendFileSync(${JSON.stringify(runs)}, '.');
      const token = 'run-' + readFileSync(${JSON.stringify(runs)}).length;
      const status = { token, expirationTimestamp: '2026-01-01T00:15:00Z' };
      console.log(JSON.stringify({ apiVersion: '${apiVersion}', kind: 'ExecCredential', status }));`;
    const source = new PluginCredentials(pluginOf(code), clock);
    const tokens = async () =>
      (await Promise.all([source.current(), source.current()])).map((one) => one.token?.reveal());
    assert.deepEqual(await tokens(), ['run-1', 'run-1']);
    await clock.advance(14 * 60_000 - 1);
    assert.deepEqual(await tokens(), ['run-1', 'run-1']);
    await clock.advance(1);
    assert.deepEqual(await tokens(), ['run-2', 'run-2']);
    const refused = await source.current();
    assert.deepEqual(await Promise.all([source.renew(refused), source.renew(refused)]), [true, true]);
    assert.deepEqual(await tokens(), ['run-3', 'run-3']);
    assert.equal(await source.renew(refused), true, 'others have made new ones');
    assert.equal(await source.renew(await source.current()), false, 'once');
    assert.equal((await readFile(runs, 'utf8')).length, 3);
  });
});
