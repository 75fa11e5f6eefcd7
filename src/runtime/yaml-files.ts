import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CellmeshError, messageOf } from './errors.ts';

const filesMax = 10_000;
const yamlFile = /\.ya?ml$/;
/** Cases of tests lie beside the manifests that they are about, and are none. */
const testFile = /\.test\.ya?ml$/;

/**
 * The text of every `*.yaml` and `*.yml` of a directory (not of directories below it) but `*.test.yaml` and `*.test.yml`, by the name of the
 * file, sorted.
 * @throws CellmeshError `file_unreadable`
 */
export function readYamlFiles(directory: string): Promise<ReadonlyMap<string, string>> {
  return readFiles(directory, 'manifests', (name) => yamlFile.test(name) && !testFile.test(name));
}

/** The same of `*.test.yaml` and `*.test.yml`. @throws CellmeshError `file_unreadable` */
export function readTestFiles(directory: string): Promise<ReadonlyMap<string, string>> {
  return readFiles(directory, 'tests', (name) => testFile.test(name));
}

async function readFiles(directory: string, what: string, isMeant: (name: string) => boolean) {
  try {
    const names = (await readdir(directory)).filter(isMeant).sort();
    if (names.length > filesMax) throw new Error(`it holds more than ${filesMax} files`);
    const entries: [string, string][] = [];
    for (const name of names) entries.push([name, await readFile(join(directory, name), 'utf8')]);
    return new Map(entries);
  } catch (cause) {
    throw new CellmeshError('file_unreadable', `the ${what} in ${directory} cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
}
