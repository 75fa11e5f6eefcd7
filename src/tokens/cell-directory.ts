import { parseTrustDomain, type TrustDomain } from '#certs/spiffe-id.ts';
import { parseTrustBundle, serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type CellId, parseCellId } from './cell-id.ts';

/** A cell as the rest of the planet knows it. */
export interface CellEntry {
  readonly cellId: CellId;
  readonly trustDomain: TrustDomain;
  readonly bundle: TrustBundle;
  /** Where its control plane answers. */
  readonly host: string;
  readonly port: number;
}

export type CellDirectory = ReadonlyMap<CellId, CellEntry>;

/** The `cells` document of identity's feed. */
export function serializeCellDirectory(cells: CellDirectory): string {
  return JSON.stringify({
    format: 1,
    cells: [...cells.values()].map((cell) => ({ ...cell, bundle: serializeTrustBundle(cell.bundle) })),
  });
}

/** @throws CellmeshError `feed_invalid` */
export function parseCellDirectory(json: string): CellDirectory {
  try {
    const { format, cells } = JSON.parse(json) as { format: unknown; cells: Record<string, unknown>[] };
    if (format !== 1) throw new Error('it has another format');
    return new Map(cells.map(parseCellEntry).map((cell) => [cell.cellId, cell]));
  } catch (cause) {
    throw new CellmeshError('feed_invalid', `the list of cells is refused: ${messageOf(cause)}`, { cause });
  }
}

/** @throws CellmeshError: what is wrong with the entry */
export function parseCellEntry({ cellId, trustDomain, bundle, host, port }: Record<string, unknown>): CellEntry {
  const domain = parseTrustDomain(String(trustDomain));
  if (
    typeof host !== 'string' ||
    host === '' ||
    host.length > 255 ||
    !Number.isInteger(port) ||
    Number(port) < 1 ||
    Number(port) > 65_535
  ) {
    throw new CellmeshError('feed_invalid', `the address of the control plane of ${String(cellId)} is malformed`);
  }
  return {
    cellId: parseCellId(String(cellId)),
    trustDomain: domain,
    bundle: parseTrustBundle(String(bundle), domain),
    host,
    port: Number(port),
  };
}
