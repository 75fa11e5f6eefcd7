import { CellmeshError } from '#runtime/errors.ts';

declare const trustDomainBrand: unique symbol;
declare const spiffeIdBrand: unique symbol;

/** The name of a trust domain, e.g. `cell-1.example.com`, without scheme. Made by `parseTrustDomain` only. */
export type TrustDomain = string & { readonly [trustDomainBrand]: true };

/** A whole SPIFFE ID, e.g. `spiffe://cell-1.example.com/ns/messaging/sa/api`. Made by this file only; equal IDs are equal strings. */
export type SpiffeId = string & { readonly [spiffeIdBrand]: true };

interface Workload {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** SPIFFE-ID 2.1: a trust domain is at most 255 bytes. */
export const trustDomainBytesMax = 255;
/** SPIFFE-ID 2.3: at least 2048 bytes must be accepted, longer ones should not be made. */
export const spiffeIdBytesMax = 2048;

const scheme = 'spiffe://';
const slash = 0x2f;
const segmentBytes = byteSet('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_');
const trustDomainBytes = byteSet('abcdefghijklmnopqrstuvwxyz0123456789.-_');

/**
 * SPIFFE-ID 2.1. Upper case is refused, not folded: the same domain must never have two spellings.
 * @throws CellmeshError `spiffe_id_invalid`
 */
export function parseTrustDomain(text: string): TrustDomain {
  if (text.length === 0) throw invalid('the trust domain is empty');
  if (text.length > trustDomainBytesMax) throw invalid(`the trust domain is longer than ${trustDomainBytesMax} bytes`);
  for (let index = 0; index < text.length; index++) {
    if (!trustDomainBytes.has(text.charCodeAt(index))) {
      throw invalid(`the trust domain has a character that is not a-z, 0-9, '.', '-' or '_' at position ${index}`);
    }
  }
  return text as TrustDomain;
}

/**
 * SPIFFE-ID 2, byte by byte. No URL parser comes near: those fold case, decode percent signs and drop dot segments, so that
 * two programs end up with two identities. The path may be absent (the ID of the trust domain itself).
 * @throws CellmeshError `spiffe_id_invalid`
 */
export function parseSpiffeId(text: string): SpiffeId {
  if (text.length > spiffeIdBytesMax) throw invalid(`the SPIFFE ID is longer than ${spiffeIdBytesMax} bytes`);
  if (!text.startsWith(scheme)) throw invalid(`a SPIFFE ID begins with ${scheme}`);
  const pathStart = text.indexOf('/', scheme.length);
  parseTrustDomain(text.slice(scheme.length, pathStart === -1 ? undefined : pathStart));
  if (pathStart !== -1) checkPath(text, pathStart);
  return text as SpiffeId;
}

/** The ID of the trust domain itself, as authorities carry it: `spiffe://<trust domain>`. */
export function trustDomainId(trustDomain: TrustDomain): SpiffeId {
  return `${scheme}${trustDomain}` as SpiffeId;
}

export function trustDomainOf(id: SpiffeId): TrustDomain {
  const pathStart = id.indexOf('/', scheme.length);
  return id.slice(scheme.length, pathStart === -1 ? undefined : pathStart) as TrustDomain;
}

/** The path with its leading slash; empty for the ID of a trust domain. */
export function pathOf(id: SpiffeId): string {
  const pathStart = id.indexOf('/', scheme.length);
  return pathStart === -1 ? '' : id.slice(pathStart);
}

/** Joins segments into an ID. @throws CellmeshError `spiffe_id_invalid` when a segment is not one. */
export function spiffeId(trustDomain: TrustDomain, ...segments: readonly string[]): SpiffeId {
  for (const segment of segments) if (segment.includes('/')) throw invalid('a path segment cannot contain a slash');
  return parseSpiffeId([trustDomainId(trustDomain), ...segments].join('/'));
}

/** `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. @throws CellmeshError `spiffe_id_invalid` */
export function workloadId(trustDomain: TrustDomain, namespace: string, serviceAccount: string): SpiffeId {
  return spiffeId(trustDomain, 'ns', namespace, 'sa', serviceAccount);
}

/** What `workloadId` put together, or undefined for an ID of another form. */
export function workloadOf(id: SpiffeId): Workload | undefined {
  const [, ns, namespace, sa, serviceAccount, ...rest] = pathOf(id).split('/');
  if (ns !== 'ns' || sa !== 'sa' || namespace === undefined || serviceAccount === undefined) return undefined;
  return rest.length === 0 ? { namespace, serviceAccount } : undefined;
}

function checkPath(text: string, pathStart: number): void {
  let segmentStart = pathStart + 1;
  for (let index = segmentStart; index <= text.length; index++) {
    const byte = index === text.length ? slash : text.charCodeAt(index);
    if (byte === slash) {
      checkSegment(text.slice(segmentStart, index));
      segmentStart = index + 1;
    } else if (!segmentBytes.has(byte)) {
      throw invalid(`the path has a character that is not a letter, digit, '.', '-' or '_' at position ${index}`);
    }
  }
}

function checkSegment(segment: string): void {
  if (segment === '') throw invalid('the path has an empty segment or ends with a slash');
  if (segment === '.' || segment === '..') throw invalid('the path has a dot segment');
}

function byteSet(characters: string): ReadonlySet<number> {
  return new Set(Buffer.from(characters, 'ascii'));
}

function invalid(reason: string): CellmeshError {
  return new CellmeshError('spiffe_id_invalid', reason);
}
