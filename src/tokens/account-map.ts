import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type AccountId, parseAccountId } from './account-id.ts';
import { type CellId, parseCellId } from './cell-id.ts';

/** Where an account lives, and which of its tokens are still good. */
export interface AccountPlace {
  readonly cellId: CellId;
  /** Rises with every move: a lower one is an older truth. */
  readonly cellEpoch: number;
  /** Tokens that carry an older one are dead. */
  readonly generation: number;
}

export type AccountMap = ReadonlyMap<AccountId, AccountPlace>;

/** The `accounts` document of identity's feed: rows instead of objects, since there is one for every account there is. */
export function serializeAccountMap(accounts: AccountMap): string {
  return JSON.stringify({
    format: 1,
    accounts: [...accounts].map(([id, { cellId, cellEpoch, generation }]) => [id, cellId, cellEpoch, generation]),
  });
}

/** @throws CellmeshError `feed_invalid` */
export function parseAccountMap(json: string): AccountMap {
  try {
    const { format, accounts } = JSON.parse(json) as { format: unknown; accounts: [string, string, number, number][] };
    if (format !== 1) throw new Error('it has another format');
    return new Map(
      accounts.map(([id, cellId, cellEpoch, generation]) => {
        if (!Number.isSafeInteger(cellEpoch) || !Number.isSafeInteger(generation))
          throw new Error('an epoch or generation is no number');
        return [parseAccountId(id), { cellId: parseCellId(cellId), cellEpoch, generation }];
      }),
    );
  } catch (cause) {
    throw new CellmeshError('feed_invalid', `the account map is refused: ${messageOf(cause)}`, { cause });
  }
}
