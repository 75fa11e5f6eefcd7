import type { Metadata } from '@grpc/grpc-js';
import { Secret } from '#runtime/secret.ts';
import type { RpcRule } from './rpc-table.ts';

/** Port: knows operators who have no SVID of ours by a token of theirs, and what they may. */
export interface OperatorAuthenticator {
  /**
   * Whose token it is, and whether they have a permission (`decisions.read`).
   * @throws CellmeshError `rpc_unavailable` when it cannot be known now
   */
  authorize(token: Secret<string>, permission: string): Promise<OperatorVerdict>;
}

export type OperatorVerdict =
  | { readonly isAllowed: true; readonly name: string }
  | {
      readonly isAllowed: false;
      /** For whoever calls. */
      readonly reason: string;
      /** For the log besides: a name, what was said of the token. */
      readonly told: Readonly<Record<string, string>>;
    };

const metadataKey = 'authorization';
/** Service accounts have tokens of 1.2 kB; those of people that list their groups are longer. */
export const tokenCharactersMax = 16 * 1024;
/** RFC 6750 2.1, the scheme as RFC 9110 11.1. */
const bearerPattern = /^bearer ([A-Za-z0-9._~+/-]+=*)$/i;

/** Whether an RPC can be called with a token: not one that is about the caller's own SVID. */
export function takesTokens({ callers, isAboutOwnSvid }: RpcRule): boolean {
  return callers.includes('admin') && isAboutOwnSvid !== true;
}

/** The bearer token (RFC 6750) that a call brings, if any; `malformed` for anything else in its place. */
export function bearerTokenOf(metadata: Metadata): Secret<string> | 'malformed' | undefined {
  const values = metadata.get(metadataKey);
  if (values.length === 0) return undefined;
  const [value] = values;
  const isOne = values.length === 1 && typeof value === 'string' && value.length <= tokenCharactersMax;
  const token = isOne ? bearerPattern.exec(value)?.[1] : undefined;
  return token === undefined ? 'malformed' : new Secret(token);
}

export function setBearerToken(metadata: Metadata, token: Secret<string>): void {
  metadata.set(metadataKey, `Bearer ${token.reveal()}`);
}
