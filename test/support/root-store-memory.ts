import type { LoadedRoots, RootStore } from '#certs/root-store.ts';
import { parseRoots, type Roots, serializeRoots } from '#certs/roots.ts';
import { CellmeshError } from '#runtime/errors.ts';

/** Roots in memory. They go through their document, as on a disk. */
export class MemoryRootStore implements RootStore {
  readonly recovery = 'cellmesh certs recover';
  #text: string | undefined;
  #version = 0;
  #roots: Roots | undefined;

  async load(): Promise<LoadedRoots | undefined> {
    if (this.#text === undefined) return undefined;
    return { roots: parseRoots(this.#text, this.#roots!.trustDomain, 'memory'), version: String(this.#version) };
  }

  async save(roots: Roots, version: string | undefined): Promise<string> {
    const held = this.#text === undefined ? undefined : String(this.#version);
    if (version !== held) throw new CellmeshError('conflict', 'it was changed in between', { retryable: true });
    this.#text = serializeRoots(roots);
    this.#roots = roots;
    return String(++this.#version);
  }
}
