import { messageOf } from '#runtime/errors.ts';
import type { CellDirectory, CellEntry } from '#tokens/cell-directory.ts';
import type { CellId } from '#tokens/cell-id.ts';
import { CellLink, type CellLinkOptions } from './cell-link.ts';

/** Links to all cells of the directory; follows it. */
export class Cells implements AsyncDisposable {
  readonly #options: Omit<CellLinkOptions, 'cell'>;
  readonly #links = new Map<CellId, CellLink>();
  #following: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: Omit<CellLinkOptions, 'cell'>) {
    this.#options = options;
  }

  get(cellId: CellId): CellLink | undefined {
    return this.#links.get(cellId);
  }

  all(): readonly CellLink[] {
    return [...this.#links.values()];
  }

  /** Opens links to new cells, closes those to cells that are gone, and moves with one whose control plane has moved. */
  follow(directory: CellDirectory): void {
    this.#following = this.#following
      .then(() => this.#followNow(directory))
      .catch((error: unknown) => this.#options.logger.error('a cell cannot be linked', { reason: messageOf(error) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#following;
    await Promise.all(this.all().map((link) => link[Symbol.asyncDispose]()));
  }

  async #followNow(directory: CellDirectory): Promise<void> {
    for (const [cellId, link] of this.#links) {
      const entry = directory.get(cellId);
      if (entry !== undefined && isSameAddress(entry, link.cell)) continue;
      this.#links.delete(cellId);
      await link[Symbol.asyncDispose]();
    }
    for (const cell of directory.values()) {
      if (this.#isClosed || this.#links.has(cell.cellId)) continue;
      this.#links.set(cell.cellId, await CellLink.open({ ...this.#options, cell }));
    }
  }
}

/** Roots change under a link without ending it: who is trusted is looked up for each connection. */
function isSameAddress(a: CellEntry, b: CellEntry): boolean {
  return a.host === b.host && a.port === b.port && a.trustDomain === b.trustDomain;
}
