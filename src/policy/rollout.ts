import type { AccountId } from '#tokens/account-id.ts';

const sharesOfHundred = 100;

/**
 * Whether a candidate is in force for an account: the same accounts in every sidecar, and with a larger share they and others. Without a
 * customer only a candidate for everybody is.
 * @param percent 0 to 100, two decimals
 */
export function isInRollout(account: AccountId | undefined, percent: number): boolean {
  if (percent >= 100) return true;
  return account !== undefined && placeOf(account) < percent * sharesOfHundred;
}

/** 0 to 9,999, the same for the same account always. FNV-1a with a last mixing; account ids are random and nobody's choice. */
function placeOf(account: AccountId): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < account.length; at++) value = Math.imul(value ^ account.charCodeAt(at), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  return ((value ^ (value >>> 13)) >>> 0) % (100 * sharesOfHundred);
}
