import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';

/** A customer: `AC` and 32 lower-case hexadecimal digits. Made by `parseAccountId` and `newAccountId` only. */
export type AccountId = string & { readonly __brand: 'AccountId' };

const accountIdPattern = /^AC[0-9a-f]{32}$/;

export function isAccountId(text: string): text is AccountId {
  return accountIdPattern.test(text);
}

/** @throws CellmeshError `account_id_invalid` */
export function parseAccountId(text: string): AccountId {
  if (isAccountId(text)) return text;
  throw new CellmeshError(
    'account_id_invalid',
    `${JSON.stringify(text.slice(0, 40))} is no account; write AC and 32 hexadecimal digits`,
  );
}

/** Every account id in a text, whatever stands around it. */
export function replaceAccountIds(text: string, replace: (account: string) => string): string {
  return text.replace(/AC[0-9a-f]{32}/g, replace);
}

export function newAccountId(random: Random): AccountId {
  return `AC${random.bytes(16).toString('hex')}` as AccountId;
}
