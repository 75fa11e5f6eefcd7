import assert from 'node:assert/strict';
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { InjectorSettingsFile } from '#control-plane/webhook/injector-settings-file.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { injectorSettingsText } from '../../support/injected-pods.ts';
import { logLines } from '../../support/log-lines.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

/** As the kubelet does it with the volume of a ConfigMap: a directory of its own for each state, and a link that moves. */
async function swap(directory: string, state: string, text: string): Promise<void> {
  await mkdir(join(directory, `..${state}`));
  await writeFile(join(directory, `..${state}`, 'injector.yaml'), text);
  await symlink(`..${state}`, join(directory, '..data_tmp'));
  await rename(join(directory, '..data_tmp'), join(directory, '..data'));
}

test('settings in the volume of a ConfigMap are followed, and a bad file keeps the last good one', async () => {
  await using directory = await temporaryDirectory();
  const lines = logLines();
  const file = join(directory.path, 'injector.yaml');
  await swap(directory.path, '1', injectorSettingsText());
  await symlink('..data/injector.yaml', file);
  using followed = new InjectorSettingsFile({ file, clock: systemClock, logger: lines.logger });
  assert.equal(followed.settings.mode, 'explicit');

  await swap(directory.path, '2', injectorSettingsText({ mode: 'transparent' }));
  await eventually(() => assert.equal(followed.settings.mode, 'transparent'));

  await swap(directory.path, '3', injectorSettingsText({ mode: 'transparent', cpuRequest: 'much' }));
  await eventually(() => assert.match(followed.problems.join(), /cpuRequest: must be an amount/));
  assert.equal(followed.settings.mode, 'transparent');
  assert.equal(lines.with('the old ones stay in force').length, 1);

  await swap(directory.path, '4', injectorSettingsText({ cpuRequest: '70m' }));
  await eventually(() => assert.equal(followed.settings.cpuRequest, '70m'));
  assert.deepEqual(followed.problems, []);
});

test('a file that cannot be used from the start is told of by every problem', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'injector.yaml');
  await writeFile(file, 'image: Ü\nuidd: 7\n');
  assert.throws(
    () => new InjectorSettingsFile({ file, clock: systemClock, logger: logLines().logger }),
    (error) =>
      isCellmeshError(error, 'config_invalid') && /uidd/.test(error.message) && /trust-domain/.test(error.message),
  );
});
