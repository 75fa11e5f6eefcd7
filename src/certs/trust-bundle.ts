import { CellmeshError } from '#runtime/errors.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { duplicateMember } from './json-duplicates.ts';
import { parseSpiffeId, type TrustDomain, trustDomainOf } from './spiffe-id.ts';
import { brokenRootRule } from './svid-rules.ts';

/**
 * The roots of one trust domain. During a rotation there are several. `sequence` rises with every change, so that a receiver
 * can refuse to go back.
 */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  readonly sequence: number;
  readonly roots: readonly Certificate[];
}

/** Bundles by trust domain. Roots of different domains are never pooled: each vouches for its own names only. */
export type TrustBundles = ReadonlyMap<TrustDomain, TrustBundle>;

/** Room for 32 roots with RSA-4096 keys. */
export const bundleBytesMax = 256 * 1024;
/** A rotation needs two; an operator's CA perhaps a handful. Each costs a signature check for every unknown chain. */
export const bundleRootsMax = 32;

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads a SPIFFE bundle (SPIFFE_Trust_Domain_and_Bundle 4): a JWK Set in which X.509 authorities have `use: x509-svid` and
 * exactly one certificate. Entries of another use or key type are ignored, as the standard demands; a wrong X.509 entry
 * makes the whole bundle invalid. An empty bundle is legal: it revokes all.
 * @throws CellmeshError `trust_bundle_invalid`
 */
export function parseTrustBundle(json: string, trustDomain: TrustDomain): TrustBundle {
  const document = parseDocument(json);
  const sequence = document['spiffe_sequence'] ?? 0;
  if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence) || sequence < 0) {
    throw invalid('spiffe_sequence is not a whole number');
  }
  const { keys } = document;
  if (!Array.isArray(keys)) throw invalid('keys is not a list');
  const roots: Certificate[] = [];
  for (const [index, key] of keys.entries()) {
    const root = parseKey(key, `keys[${index}]`, trustDomain);
    if (root === undefined) continue;
    if (roots.some(({ der }) => der.equals(root.der))) throw invalid(`keys[${index}] comes twice`);
    roots.push(root);
    if (roots.length > bundleRootsMax) throw invalid(`it has more than ${bundleRootsMax} roots`);
  }
  return Object.freeze({ trustDomain, sequence, roots: Object.freeze(roots) });
}

/** The trust domain that the roots of a bundle name (SPIFFE ID in their URI SAN), if one does. Whether they all agree, `parseTrustBundle` says. */
export function trustDomainNamedBy(json: string): TrustDomain | undefined {
  const { keys } = parseDocument(json);
  for (const key of Array.isArray(keys) ? keys : []) {
    const [encoded]: unknown[] = isObject(key) && Array.isArray(key['x5c']) ? key['x5c'] : [];
    if (typeof encoded !== 'string') continue;
    const [uri] = parseRoot(Buffer.from(encoded, 'base64'), 'keys').uriSans;
    if (uri !== undefined) return trustDomainOf(parseSpiffeId(uri));
  }
  return undefined;
}

/** The document that `parseTrustBundle` reads. */
export function serializeTrustBundle(bundle: TrustBundle): string {
  const keys = bundle.roots.map((root) => ({
    ...root.publicKey.export({ format: 'jwk' }),
    use: 'x509-svid',
    x5c: [root.der.toString('base64')],
  }));
  return JSON.stringify({ spiffe_sequence: bundle.sequence, keys });
}

export function bundlesOf(...bundles: readonly TrustBundle[]): TrustBundles {
  return new Map(bundles.map((bundle) => [bundle.trustDomain, bundle]));
}

/** The one with the higher sequence; of equals the first. */
export function newerBundle(one: TrustBundle, other: TrustBundle | undefined): TrustBundle {
  return other !== undefined && other.sequence > one.sequence ? other : one;
}

/** Whether nothing that is trusted, and nothing of its order, has changed. */
export function isSameBundle(one: TrustBundle, other: TrustBundle): boolean {
  return (
    one.sequence === other.sequence &&
    one.roots.length === other.roots.length &&
    one.roots.every(({ der }, index) => der.equals(other.roots[index]!.der))
  );
}

function parseDocument(json: string): Json {
  if (json.length > bundleBytesMax) throw invalid(`it is longer than ${bundleBytesMax} bytes`);
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch (cause) {
    throw invalid('it is not JSON', cause);
  }
  if (!isObject(document)) throw invalid('it is not a JSON object');
  const duplicate = duplicateMember(json);
  if (duplicate !== undefined) throw invalid(`the member ${JSON.stringify(duplicate)} comes twice`);
  return document;
}

function parseKey(key: unknown, where: string, trustDomain: TrustDomain): Certificate | undefined {
  if (!isObject(key)) throw invalid(`${where} is not an object`);
  if (key['use'] !== 'x509-svid' || (key['kty'] !== 'EC' && key['kty'] !== 'RSA')) return undefined;
  if ('kid' in key) throw invalid(`${where} is for X.509 and has a kid`);
  if ('d' in key) throw invalid(`${where} holds a private key`);
  const { x5c } = key;
  if (!Array.isArray(x5c) || x5c.length !== 1 || typeof x5c[0] !== 'string') {
    throw invalid(`${where} does not have exactly one certificate in x5c`);
  }
  const der = Buffer.from(x5c[0], 'base64');
  if (der.toString('base64') !== x5c[0]) throw invalid(`${where} has a certificate that is not base64`);
  const root = parseRoot(der, where);
  if (!describesKey(key, root)) throw invalid(`${where} describes another key than its certificate`);
  const broken = brokenRootRule(root, trustDomain);
  if (broken !== undefined) throw invalid(`${where}: ${broken.rule}: ${broken.reason}`);
  return root;
}

function parseRoot(der: Buffer, where: string): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw invalid(`${where} has a certificate that cannot be read`, cause);
  }
}

function describesKey(key: Json, root: Certificate): boolean {
  const expected = Object.entries(root.publicKey.export({ format: 'jwk' }));
  return expected.every(([name, value]) => key[name] === value);
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(reason: string, cause?: unknown): CellmeshError {
  return new CellmeshError('trust_bundle_invalid', `the trust bundle is refused: ${reason}`, { cause });
}
