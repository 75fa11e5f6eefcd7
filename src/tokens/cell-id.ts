import { CellmeshError } from '#runtime/errors.ts';

/** The short name of a cell, a DNS label: `cell-1`. Made by `parseCellId` only. */
export type CellId = string & { readonly __brand: 'CellId' };

export const cellIdPattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** @throws CellmeshError `cell_id_invalid` */
export function parseCellId(text: string): CellId {
  if (cellIdPattern.test(text)) return text as CellId;
  throw new CellmeshError(
    'cell_id_invalid',
    `${JSON.stringify(text.slice(0, 64))} is no cell id; write a DNS label in lower case`,
  );
}
