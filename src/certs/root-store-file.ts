import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';
import { lockFile } from '#runtime/sqlite.ts';
import { createPrivateFile, exists, readPrivateFile, writePrivateFile } from './private-file.ts';
import { rootFromFile } from './root-signer-file.ts';
import type { LoadedRoots, RootStore } from './root-store.ts';
import { parseRoots, type Roots, serializeRoots, singleRoot } from './roots.ts';
import type { TrustDomain } from './spiffe-id.ts';

/** Keys, certificates and phases in one file, so that no crash can leave one without the other. */
const rootsFileName = 'roots.json';
/** The one root of a state directory from before roots rotated: key and certificate. */
const formerFileName = 'root.pem';
/** Held while the file is replaced. SQLite's lock goes with its process, however that ends. */
const lockFileName = 'roots.lock';

/** Roots in `roots.json` of a directory, mode 0600. Processes that save at once: one wins, the others get `conflict`. */
export class FileRootStore implements RootStore {
  readonly recovery = 'cellmesh certs recover';
  readonly #directory: string;
  readonly #trustDomain: TrustDomain;

  constructor(directory: string, trustDomain: TrustDomain) {
    this.#directory = directory;
    this.#trustDomain = trustDomain;
  }

  async load(): Promise<LoadedRoots | undefined> {
    const path = this.#path();
    if (!(await exists(path)) && !(await this.#takeOver())) return undefined;
    const text = await readPrivateFile(path);
    return { roots: parseRoots(text, this.#trustDomain, path), version: versionOf(text) };
  }

  async save(roots: Roots, version: string | undefined): Promise<string> {
    const text = serializeRoots(roots);
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    if (version === undefined) {
      if (!(await createPrivateFile(this.#path(), text))) throw conflict(this.#path());
      return versionOf(text);
    }
    using _lock = this.#lock();
    if (versionOf(await readPrivateFile(this.#path())) !== version) throw conflict(this.#path());
    await writePrivateFile(this.#path(), text);
    return versionOf(text);
  }

  /** Whoever comes second makes the same of the same file. */
  async #takeOver(): Promise<boolean> {
    const former = join(this.#directory, formerFileName);
    if (!(await exists(former))) return await exists(this.#path());
    const root = await rootFromFile(former, this.#trustDomain);
    await createPrivateFile(this.#path(), serializeRoots(singleRoot(this.#trustDomain, root)));
    // A key lies in one place.
    await rm(former, { force: true });
    return true;
  }

  #lock(): Disposable {
    try {
      return lockFile(join(this.#directory, lockFileName));
    } catch (error) {
      if (isCellmeshError(error, 'state_locked')) throw conflict(this.#path());
      throw error;
    }
  }

  #path(): string {
    return join(this.#directory, rootsFileName);
  }
}

function versionOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function conflict(path: string): CellmeshError {
  return new CellmeshError('conflict', `${path} was changed by another process in between`, { retryable: true });
}
