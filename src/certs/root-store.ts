import type { Roots } from './roots.ts';

export interface LoadedRoots {
  readonly roots: Roots;
  /** Names this very state, for `save`. */
  readonly version: string;
}

/** Port: where the roots of one trust domain lie, with their keys. What `save` resolved has outlived a crash. */
export interface RootStore {
  /** The command that makes a new root where this one has ended. */
  readonly recovery: string;
  /** Undefined when there are none yet. @throws CellmeshError `roots_invalid`, `key_permissions`, `file_unreadable` */
  load(): Promise<LoadedRoots | undefined>;
  /**
   * Puts `roots` in the place of the state that `version` names; undefined: of none.
   * @returns the version of what was saved
   * @throws CellmeshError `conflict` when something else is there by now
   */
  save(roots: Roots, version: string | undefined): Promise<string>;
}
