import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CellmeshError } from '#runtime/errors.ts';
import { readYamlFiles } from '#runtime/yaml-files.ts';
import { findInstallation } from '../installation.ts';

/** A directory of manifests, and those of its files that were asked for. */
interface ManifestSet {
  /** The text of each file by its path, as a terminal or an editor would open it. */
  readonly texts: ReadonlyMap<string, string>;
  /** Absent: all of them. */
  readonly wanted?: ReadonlySet<string>;
}

/** The manifests in force where `cellmesh up` has its state, and otherwise those of the working directory. */
export async function defaultManifestDir(state: string): Promise<string> {
  return (await findInstallation(state))?.policyDir ?? '.';
}

/** @throws CellmeshError `file_unreadable`, `document_invalid`: there are none */
export async function readManifestDir(directory: string): Promise<ReadonlyMap<string, string>> {
  const files = await readYamlFiles(directory);
  if (files.size === 0) throw new CellmeshError('document_invalid', `${directory} holds no manifests (*.yaml, *.yml)`);
  return new Map([...files].map(([name, text]) => [join(directory, name), text]));
}

/**
 * The sets that some paths are about: a directory is a set, and a file is one of the set of its directory.
 * @throws CellmeshError `file_unreadable`, `document_invalid`
 */
export async function manifestSets(paths: readonly string[]): Promise<ManifestSet[]> {
  const wantedOf = new Map<string, Set<string> | undefined>();
  for (const path of paths) {
    if (await isDirectory(path)) {
      wantedOf.set(join(path), undefined);
      continue;
    }
    if (!/\.ya?ml$/.test(path))
      throw new CellmeshError('document_invalid', `${path} is no manifest: the control plane reads *.yaml and *.yml`);
    const directory = join(dirname(path));
    const wanted = wantedOf.has(directory) ? wantedOf.get(directory) : new Set<string>();
    wanted?.add(join(directory, basename(path)));
    wantedOf.set(directory, wanted);
  }
  const sets: ManifestSet[] = [];
  for (const [directory, wanted] of wantedOf)
    sets.push({ texts: await readManifestDir(directory), ...(wanted && { wanted }) });
  return sets;
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw new CellmeshError('file_unreadable', `${path} cannot be read`, { cause });
  }
}
