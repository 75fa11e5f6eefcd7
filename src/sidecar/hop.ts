import { isCellmeshError } from '#runtime/errors.ts';
import { parseScopeList, ScopeSet } from '#tokens/scope.ts';
import { fieldIds } from '#wire/field-names.ts';
import type { RequestHead } from '#wire/message.ts';
import { Refused } from './refusal.ts';

/**
 * `cellmesh-left: 1 messages:read messages:send`: a version, then the scopes that remain at this hop; `1` alone when none does. Version 1 is the
 * word of the calling sidecar, which mutual TLS vouches for (DESIGN.md 5).
 */
const version = '1';
const leftId = fieldIds['cellmesh-left'];
/** A token's scopes fit into its 4 KiB, and so does what is left of them. */
export const leftBytesMax = 4096;

/** What was read last: requests that follow each other mostly have the same. */
let lastValue = '';
let lastScopes = ScopeSet.empty;

/**
 * What the hop before says is left; undefined where it says nothing. A version that is not known is refused: a later one may say
 * that less is left in a way that this reader would miss.
 * @throws Refused `hop_malformed`
 */
export function leftOf(request: Pick<RequestHead, 'fieldById' | 'countById'>): ScopeSet | undefined {
  const value = request.fieldById(leftId);
  if (value === undefined) return undefined;
  if (request.countById(leftId) !== 1) throw malformed('it comes twice');
  if (value === lastValue && value !== '') return lastScopes;
  if (value.length > leftBytesMax) throw malformed(`it has more than ${leftBytesMax} bytes`);
  const space = value.indexOf(' ');
  const [given, scopes] = space === -1 ? [value, ''] : [value.slice(0, space), value.slice(space + 1)];
  if (given !== version) throw malformed('it is of another version');
  try {
    lastScopes = parseScopeList(scopes);
    lastValue = value;
    return lastScopes;
  } catch (error) {
    if (isCellmeshError(error)) throw malformed(error.message);
    throw error;
  }
}

export function formatLeft(left: ScopeSet): string {
  return left.size === 0 ? version : `${version} ${left.text}`;
}

function malformed(reason: string): Refused {
  return new Refused('hop_malformed', 'hop', `cellmesh-left of version ${version}`, reason);
}
