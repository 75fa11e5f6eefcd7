import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CellmeshError, messageOf } from './errors.ts';

const filesMax = 10_000;

/**
 * The text of every `*.yaml` and `*.yml` of a directory (not of directories below it), by the name of the file, sorted.
 * @throws CellmeshError `file_unreadable`
 */
export async function readYamlFiles(directory: string): Promise<ReadonlyMap<string, string>> {
  try {
    const names = (await readdir(directory)).filter((name) => /\.ya?ml$/.test(name)).sort();
    if (names.length > filesMax) throw new Error(`it holds more than ${filesMax} files`);
    const entries: [string, string][] = [];
    for (const name of names) entries.push([name, await readFile(join(directory, name), 'utf8')]);
    return new Map(entries);
  } catch (cause) {
    throw new CellmeshError('file_unreadable', `the manifests in ${directory} cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
}
