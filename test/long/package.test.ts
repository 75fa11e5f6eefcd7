import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { sidecarState } from '../support/admin-socket.ts';
import { runCommand, startUp } from '../support/command.ts';
import { customersOf } from '../support/customers.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { root } from '../tidy/source-files.ts';

interface Installed extends AsyncDisposable {
  /** As npm puts it into `node_modules/.bin`. */
  readonly command: string;
  readonly files: readonly string[];
  readonly stateDir: string;
}

/**
 * What `npm install` makes of the package that `npm run build` and `npm pack` make, in a directory with nothing else of this checkout. The libraries that the package
 * asks for, and what they ask for, are those of the checkout: no registry is asked.
 */
async function installPackage(): Promise<Installed> {
  await using starting = new AsyncDisposableStack();
  const { path } = starting.use(await temporaryDirectory());
  execFileSync('npm', ['run', 'build'], { cwd: root, stdio: 'ignore' });
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', path], { cwd: root, encoding: 'utf8' });
  const modules = join(path, 'node_modules');
  const installed = join(modules, 'cellmesh');
  await mkdir(join(modules, '.bin'), { recursive: true });
  await mkdir(installed);
  const file = /\bcellmesh-[\d.]+\.tgz\b/.exec(packed)![0];
  execFileSync('tar', ['-xzf', join(path, file), '-C', installed, '--strip-components=1']);
  const command = join(modules, '.bin', 'cellmesh');
  const { bin, dependencies, optionalDependencies } = manifestOf(installed);
  await symlink(join(installed, bin!.cellmesh!), command);
  const present = new Set(await readdir(join(root, 'node_modules')));
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    if (!present.has(name.split('/')[0]!)) continue;
    await mkdir(dirname(join(modules, name)), { recursive: true });
    await symlink(join(root, 'node_modules', name), join(modules, name));
  }
  const files = await readdir(installed, { recursive: true });
  const owned = starting.move();
  return { command, files, stateDir: join(path, 'state'), [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

interface Manifest {
  readonly bin?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

function manifestOf(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
}

/** Where a second thread is possible, and a process shows what it was started with. */
const skip = process.platform !== 'linux' && 'threads need Linux';

describe('the package', { timeout: 120_000, skip }, () => {
  test('runs a cell whose sidecars have two threads each, and a customer comes through all of it', async () => {
    await using installed = await installPackage();
    const { command, files, stateDir } = installed;
    assert.deepEqual(
      files.filter((file) => file.endsWith('.ts')),
      [],
      'no source is in it, so what runs is what was built',
    );
    const environment = { CELLMESH_WORKERS: '2', CELLMESH_DIST: '' };
    await using up = await startUp(stateDir, { command, environment });
    await using customers = await customersOf(up);

    const { status, body, decision } = await customers.send();

    assert.equal(status, 200, body);
    const { code, stdout } = await up.run('explain', decision);
    assert.equal(code, 0);
    assert.match(stdout, /^Where +on the way into messaging\/api/m);
    const sidecar = join(stateDir, 'sidecars', 'api');
    assert.equal(((await sidecarState(sidecar))['requests'] as { threads?: number }).threads, 2);
    const main = readFileSync(`/proc/${up.pidOf('api-sidecar')}/cmdline`, 'utf8').split('\0');
    assert.ok(
      main.some((word) => word.endsWith('/node_modules/cellmesh/dist/main.js')),
      main.join(' '),
    );
    assert.equal(await up.interrupt(), 0);
  });

  test('says what it is without a state, and ends with the code for it where something is wrong', async () => {
    await using installed = await installPackage();
    const { stdout } = await runCommand(['--version'], '', {}, installed.command);
    assert.equal(stdout, '0.1.0\n');
    const { code, stderr } = await runCommand(
      ['cells', 'list', '--state', installed.stateDir],
      '',
      {},
      installed.command,
    );
    assert.notEqual(code, 0);
    assert.match(stderr, /^cellmesh: .* \[\w+\]$/m);
  });
});
