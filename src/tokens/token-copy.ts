import { Secret } from '#runtime/secret.ts';
import { parseScopeList } from './scope.ts';
import type { VerifiedToken } from './verify.ts';

/** A verified token as structured clone takes it. It holds the token's text in the open: for threads of this process, for nothing else. */
export interface TokenCopy extends Omit<VerifiedToken, 'scopes' | 'text'> {
  readonly scopes: string;
  readonly text: string;
}

export function copyOfToken(token: VerifiedToken): TokenCopy {
  return { ...token, scopes: token.scopes.text, text: token.text.reveal() };
}

/** What another thread of this process has verified is verified: nobody else can send a copy. */
export function tokenOfCopy(copy: TokenCopy): VerifiedToken {
  return Object.freeze({ ...copy, scopes: parseScopeList(copy.scopes), text: new Secret(copy.text) });
}
