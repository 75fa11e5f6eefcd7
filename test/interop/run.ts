import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** `npm run interop -- h2spec`: the tests against one peer that nobody here wrote; without a name, against all of them. */
const names = process.argv.slice(2);
const suffix = '.test.ts';
const files = names.length > 0 ? names.map((name) => name + suffix) : all();
const unknown = files.filter((file) => !existsSync(join(import.meta.dirname, file)));
if (unknown.length > 0) {
  const known = all().map((file) => file.slice(0, -suffix.length));
  process.stderr.write(`there is no ${unknown.join(', ')}; peers are ${known.join(', ')}\n`);
  process.exitCode = 64;
} else {
  const paths = files.map((file) => join(import.meta.dirname, file));
  process.exitCode =
    spawnSync(process.execPath, ['--test', '--test-reporter=spec', ...paths], { stdio: 'inherit' }).status ?? 1;
}

function all(): string[] {
  return readdirSync(import.meta.dirname).filter((file) => file.endsWith(suffix));
}
