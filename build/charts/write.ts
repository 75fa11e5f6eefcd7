import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { chartFiles } from './charts.ts';
import { withTables } from './install-page.ts';

const directory = join(import.meta.dirname, '../../k8s');
for (const made of ['charts', 'base']) await rm(join(directory, made), { recursive: true, force: true });
for (const [path, text] of chartFiles()) {
  await mkdir(dirname(join(directory, path)), { recursive: true });
  await writeFile(join(directory, path), text);
}
const page = join(directory, '../docs/install.md');
await writeFile(page, withTables(await readFile(page, 'utf8')));
