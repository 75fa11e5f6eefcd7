import { CellmeshError } from '#runtime/errors.ts';

/**
 * A path with one reading: computed once, decided on, and what the application receives (PAINS.md P10). Made by `canonicalTarget`
 * and `parseCanonicalPath` only.
 */
export type CanonicalPath = string & { readonly __brand: 'CanonicalPath' };

type PathReason =
  | 'path_not_absolute'
  | 'path_character'
  | 'path_percent'
  | 'path_encoded_separator'
  | 'path_dot_segment'
  | 'path_empty_segment'
  | 'path_parameter';

/** Why a request target has no canonical path: the request is a 400. */
export class PathRejected extends CellmeshError {
  readonly reason: PathReason;

  constructor(reason: PathReason, message: string, cause?: unknown) {
    super('path_rejected', message, { cause });
    this.name = 'PathRejected';
    this.reason = reason;
  }
}

export interface CanonicalTarget {
  readonly path: CanonicalPath;
  /** The query with its `?`, forwarded as it came and never decided on; empty for none. */
  readonly query: string;
}

/** Of an opaque connection: no pattern matches it, so no rule that names paths is about one. */
export const noTarget: CanonicalTarget = { path: '' as CanonicalPath, query: '' };

const aboveAscii = /%[89A-F]/;
const unreserved = /[A-Za-z0-9\-._~]/;
/** RFC 3986 3.3 pchar without `;`, and `/`. What is left out of a path is percent-encoded by every correct client. */
const pathCharacters = /^[A-Za-z0-9\-._~!$&'()*+,=:@/%]*$/;
/** Those without `%`, and no segment that is empty or begins with a dot: nothing to decode, to refuse, or to look at twice. Nearly every path is so. */
const plainPath = /^(?:\/(?![./])[A-Za-z0-9\-._~!$&'()*+,=:@]*)+$/;
/** RFC 3986 3.4, and the few characters that clients leave unencoded in queries. */
const queryCharacters = /^[A-Za-z0-9\-._~!$&'()*+,=:@/%?;[\]{}|^`"<>\\]*$/;

/**
 * Splits an origin-form target (RFC 9112 3.2.1) and makes its path canonical: needless percent-encoding is undone, the rest is
 * written in upper case. Everything that some server reads differently is refused instead of repaired.
 * @throws PathRejected
 */
export function canonicalTarget(target: string): CanonicalTarget {
  const queryStart = target.indexOf('?');
  const path = queryStart < 0 ? target : target.slice(0, queryStart);
  const query = queryStart < 0 ? '' : target.slice(queryStart);
  if (query !== '' && !queryCharacters.test(query))
    throw new PathRejected('path_character', 'the query holds a character that must be percent-encoded');
  return { path: parseCanonicalPath(path), query };
}

/** @throws PathRejected */
export function parseCanonicalPath(path: string): CanonicalPath {
  return plainPath.test(path) ? (path as CanonicalPath) : canonicalOf(path);
}

function canonicalOf(path: string): CanonicalPath {
  if (!path.startsWith('/')) throw new PathRejected('path_not_absolute', 'the path does not begin with /');
  if (path.includes(';'))
    throw new PathRejected('path_parameter', 'the path holds `;`, which servers read differently');
  if (path.includes('\\'))
    throw new PathRejected('path_encoded_separator', 'the path holds a backslash, which some servers read as /');
  if (!pathCharacters.test(path))
    throw new PathRejected('path_character', 'the path holds a character that must be percent-encoded');
  const canonical = path.includes('%') ? decodeUnreserved(path) : path;
  const segments = canonical.split('/');
  for (const [index, segment] of segments.entries()) {
    if (segment === '.' || segment === '..') throw new PathRejected('path_dot_segment', 'the path has a dot segment');
    if (segment === '' && index > 0 && index < segments.length - 1)
      throw new PathRejected('path_empty_segment', 'the path has an empty segment');
  }
  return canonical as CanonicalPath;
}

function decodeUnreserved(path: string): string {
  const canonical = path.replace(/%([0-9A-Fa-f]{2})?/g, (_, digits: string | undefined) => {
    if (digits === undefined) throw new PathRejected('path_percent', 'the path has a % without two hexadecimal digits');
    const byte = Number.parseInt(digits, 16);
    if (byte < 0x20 || byte === 0x7f) throw new PathRejected('path_character', 'the path encodes a control character');
    const character = String.fromCharCode(byte);
    if (character === '/' || character === '\\')
      throw new PathRejected('path_encoded_separator', 'the path encodes a separator');
    if (character === ';') throw new PathRejected('path_parameter', 'the path encodes `;`');
    // A second decoding somewhere behind us would see what we did not: %252e becomes %2e there.
    if (character === '%' || character === '#' || character === '?')
      throw new PathRejected('path_percent', `the path encodes ${character}`);
    return byte < 0x80 && unreserved.test(character) ? character : `%${digits.toUpperCase()}`;
  });
  if (aboveAscii.test(canonical)) checkUtf8(canonical);
  return canonical;
}

/** Old decoders take an overlong `%C0%AE` for a dot; others fail on what is no UTF-8 (RFC 3986 2.5), and some then let it pass. */
function checkUtf8(path: string): void {
  try {
    decodeURIComponent(path);
  } catch (cause) {
    throw new PathRejected('path_percent', 'the path encodes bytes that are no UTF-8', cause);
  }
}
