import type { ApiClient } from '#api/api-client.ts';
import { type CompiledCell, compileCell } from '#policy/compile.ts';
import { readManifests } from '#policy/read-manifests.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { readYamlFiles } from '#runtime/yaml-files.ts';
import { policyFiles } from './policy-files.ts';

/** Manifests, and what they come to. */
interface CompiledFiles extends ReturnType<typeof readManifests> {
  readonly compiled: CompiledCell;
}

/** @throws CellmeshError `file_unreadable`, `document_invalid` */
export async function compiledDirectory(directory: string): Promise<CompiledFiles> {
  return compiledFiles(await readYamlFiles(directory));
}

/** @throws CellmeshError `not_found`: the control plane keeps no such version */
export async function compiledVersion(client: ApiClient, version: string): Promise<CompiledFiles> {
  return compiledFiles(await policyFiles(client, version));
}

/** A directory, or `@` and a version that the control plane keeps. */
export async function compiledPolicy(named: string, client: ApiClient | undefined): Promise<CompiledFiles> {
  if (!named.startsWith('@')) return await compiledDirectory(named);
  if (client !== undefined) return await compiledVersion(client, named.slice(1));
  throw new CellmeshError('config_invalid', `${named} is a version that a control plane keeps, and none is asked`);
}

function compiledFiles(texts: ReadonlyMap<string, string>): CompiledFiles {
  const manifests = readManifests(texts);
  return { ...manifests, compiled: compileCell(manifests.cell, manifests.policies) };
}
