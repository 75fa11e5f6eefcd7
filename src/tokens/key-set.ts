import { createHash, createPublicKey, type KeyObject, type webcrypto } from 'node:crypto';
import { parseSpiffeId, type SpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError, isCellmeshError, messageOf } from '#runtime/errors.ts';

/** What a key may sign. A key signs one kind only, so that no token passes for another kind (DESIGN.md 5). */
export type TokenKind = 'cell' | 'exchanged' | 'service' | 'access';
/** Minted: ES256. Verified: these. `none` and HMAC never (RFC 8725 3.1, 3.2). */
type TokenAlgorithm = 'ES256' | 'RS256' | 'PS256';

export interface VerificationKey {
  readonly iss: string;
  readonly kid: string;
  readonly kind: TokenKind;
  readonly alg: TokenAlgorithm;
  /** Whose key it is, where one workload alone holds it: a router. */
  readonly owner?: SpiffeId;
  readonly publicKey: KeyObject;
  readonly jwk: webcrypto.JsonWebKey;
}

/** Routers times two kids, identity's own and the cell's: a fleet of hundreds fits with room. */
const keysMax = 4096;
const keySetBytesMax = 4 * 1024 * 1024;
const kinds: ReadonlySet<string> = new Set(['cell', 'exchanged', 'service', 'access']);
const algorithms: ReadonlySet<string> = new Set(['ES256', 'RS256', 'PS256']);
/** RFC 7518 6: members that only private or symmetric keys have. */
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];
const rsaBitsMin = 2048;

/** The public keys that tokens are verified with, found by issuer and key id together. */
export class KeySet {
  static readonly empty = new KeySet([]);
  readonly #keys: ReadonlyMap<string, VerificationKey>;
  /** A digest of the content: what was verified under one version is not taken for another. */
  readonly version: string;

  constructor(keys: Iterable<VerificationKey>) {
    const byName = new Map<string, VerificationKey>();
    for (const key of keys) {
      const name = nameOf(key.iss, key.kid);
      if (byName.has(name)) throw invalid(`key ${key.kid} of ${key.iss} is listed twice`);
      byName.set(name, key);
    }
    if (byName.size > keysMax) throw invalid(`it lists more than ${keysMax} keys`);
    this.#keys = byName;
    this.version = createHash('sha256').update(serialize(this.keys())).digest('base64url').slice(0, 16);
  }

  get size(): number {
    return this.#keys.size;
  }

  find(iss: string, kid: string): VerificationKey | undefined {
    return this.#keys.get(nameOf(iss, kid));
  }

  hasIssuer(iss: string): boolean {
    return this.keys().some((key) => key.iss === iss);
  }

  keys(): readonly VerificationKey[] {
    return [...this.#keys.values()].sort((a, b) => (nameOf(a.iss, a.kid) < nameOf(b.iss, b.kid) ? -1 : 1));
  }
}

/**
 * Reads a JWK Set (RFC 7517) whose keys also carry `iss`, `kind` and, for a router's, `owner`.
 * @throws CellmeshError `key_set_invalid`: not JSON, a private key, an unknown kind or algorithm, a key listed twice
 */
export function parseKeySet(json: string): KeySet {
  if (json.length > keySetBytesMax) throw invalid(`it is longer than ${keySetBytesMax} bytes`);
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch (cause) {
    throw invalid('it is not JSON', cause);
  }
  if (!isRecord(document) || !Array.isArray(document['keys'])) throw invalid('it has no list `keys`');
  return new KeySet(document['keys'].map((entry, index) => parseKey(entry, `keys[${index}]`)));
}

export function serializeKeySet(keySet: KeySet): string {
  return serialize(keySet.keys());
}

function serialize(keys: readonly VerificationKey[]): string {
  const entries = keys.map(({ iss, kid, kind, alg, owner, jwk }) => ({
    ...jwk,
    kid,
    alg,
    use: 'sig',
    iss,
    kind,
    ...(owner === undefined ? {} : { owner }),
  }));
  return JSON.stringify({ keys: entries });
}

function parseKey(entry: unknown, where: string): VerificationKey {
  if (!isRecord(entry)) throw invalid(`${where} is no object`);
  const found = privateMembers.find((member) => member in entry);
  if (found !== undefined)
    throw invalid(`${where} holds private key material (\`${found}\`); publish public keys only`);
  const { iss, kid, kind, alg, owner, kty, crv, x, y, n, e } = entry;
  if (!isName(iss) || !isName(kid)) throw invalid(`${where} needs \`iss\` and \`kid\``);
  if (typeof kind !== 'string' || !kinds.has(kind)) throw invalid(`${where}: kind ${JSON.stringify(kind)} is unknown`);
  if (typeof alg !== 'string' || !algorithms.has(alg)) throw invalid(`${where}: alg ${JSON.stringify(alg)} is refused`);
  const jwk = (kty === 'EC' ? { kty, crv, x, y } : { kty, n, e }) as webcrypto.JsonWebKey;
  return Object.freeze({
    iss,
    kid,
    kind: kind as TokenKind,
    alg: alg as TokenAlgorithm,
    ...(owner === undefined ? {} : { owner: parseOwner(owner, where) }),
    publicKey: importKey(jwk, alg as TokenAlgorithm, where),
    jwk,
  });
}

function parseOwner(owner: unknown, where: string): SpiffeId {
  try {
    return parseSpiffeId(String(owner));
  } catch (cause) {
    if (isCellmeshError(cause)) throw invalid(`${where}: owner is no SPIFFE ID`, cause);
    throw cause;
  }
}

function importKey(jwk: webcrypto.JsonWebKey, alg: TokenAlgorithm, where: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: jwk, format: 'jwk' });
  } catch (cause) {
    throw invalid(`${where}: ${messageOf(cause)}`, cause);
  }
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  const fits =
    alg === 'ES256'
      ? key.asymmetricKeyType === 'ec' && namedCurve === 'prime256v1'
      : key.asymmetricKeyType === 'rsa' && (modulusLength ?? 0) >= rsaBitsMin;
  if (!fits) throw invalid(`${where}: the key does not fit ${alg} (P-256, or RSA of at least ${rsaBitsMin} bits)`);
  return key;
}

function invalid(reason: string, cause?: unknown): CellmeshError {
  return new CellmeshError('key_set_invalid', `the key set is refused: ${reason}`, { cause });
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= 512;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function nameOf(iss: string, kid: string): string {
  return `${iss}\n${kid}`;
}
