import { parseScopeList, type ScopeSet } from '#tokens/scope.ts';

/**
 * `cellmesh-left: 1 messages:read messages:send`: a version, then the scopes that remain at this hop. Version 1 is the word of the calling sidecar,
 * which mutual TLS vouches for (DESIGN.md 5). A version that is not known is refused: a later one may say that less is left
 * in a way that this reader would miss.
 */
export type Hop =
  | { readonly tag: 'absent' }
  | { readonly tag: 'left'; readonly left: ScopeSet }
  | { readonly tag: 'malformed' };

const version = '1';
/** A token's scopes fit into its 4 KiB, and so does what is left of them. */
export const leftBytesMax = 4096;

export function parseLeft(value: string | undefined, fieldCount: number): Hop {
  if (value === undefined) return { tag: 'absent' };
  if (fieldCount !== 1 || value.length > leftBytesMax) return { tag: 'malformed' };
  const space = value.indexOf(' ');
  const [given, scopes] = space === -1 ? [value, ''] : [value.slice(0, space), value.slice(space + 1)];
  if (given !== version) return { tag: 'malformed' };
  try {
    return { tag: 'left', left: parseScopeList(scopes) };
  } catch {
    return { tag: 'malformed' };
  }
}

export function formatLeft(left: ScopeSet): string {
  return left.text === '' ? version : `${version} ${left.text}`;
}
