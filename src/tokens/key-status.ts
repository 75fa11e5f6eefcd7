import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { type AccountId, parseAccountId } from './account-id.ts';
import { parseScopeList, type ScopeSet } from './scope.ts';

export type ApiKeyState = 'active' | 'retiring' | 'revoked';

/** What is true of an API key now. Whether a secret belongs to it is another question, and never changes. */
export interface ApiKeyStatus {
  /** `SK` and 32 hexadecimal digits. */
  readonly keyId: string;
  readonly accountId: AccountId;
  readonly locator: string;
  readonly scopes: ScopeSet;
  readonly state: ApiKeyState;
  /** Milliseconds since the epoch; absent for no end. */
  readonly notAfter?: number;
  /** Rises when the secret behind the locator changes. */
  readonly version: number;
}

/** The `key-status` document of identity's feed to routers. */
export interface KeyStatusDocument {
  /** For tags of API keys. Losing it loses the filter against forgeries, and no key. */
  readonly tagKey: Secret<Buffer>;
  /** By locator. */
  readonly keys: ReadonlyMap<string, ApiKeyStatus>;
}

export function serializeKeyStatus({ tagKey, keys }: KeyStatusDocument): string {
  const rows = [...keys.values()].map((key) => ({ ...key, scopes: key.scopes.text }));
  return JSON.stringify({ format: 1, tagKey: tagKey.reveal().toString('base64url'), keys: rows });
}

/** @throws CellmeshError `feed_invalid` */
export function parseKeyStatus(json: string): KeyStatusDocument {
  try {
    const { format, tagKey, keys } = JSON.parse(json) as {
      format: unknown;
      tagKey: string;
      keys: Record<string, unknown>[];
    };
    if (format !== 1) throw new Error('it has another format');
    return {
      tagKey: new Secret(Buffer.from(tagKey, 'base64url')),
      keys: new Map(keys.map(parseKey).map((key) => [key.locator, key])),
    };
  } catch (cause) {
    throw new CellmeshError('feed_invalid', `the key status is refused: ${messageOf(cause)}`, { cause });
  }
}

function parseKey(row: Record<string, unknown>): ApiKeyStatus {
  const { keyId, accountId, locator, scopes, state, notAfter, version } = row;
  if (typeof keyId !== 'string' || typeof locator !== 'string' || typeof version !== 'number')
    throw new Error('a key lacks a field');
  if (state !== 'active' && state !== 'retiring' && state !== 'revoked')
    throw new Error('the state of a key is unknown');
  return {
    keyId,
    accountId: parseAccountId(String(accountId)),
    locator,
    scopes: parseScopeList(String(scopes)),
    state,
    ...(typeof notAfter === 'number' ? { notAfter } : {}),
    version,
  };
}
