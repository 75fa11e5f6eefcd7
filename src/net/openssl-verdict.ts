import type { TLSSocket } from 'node:tls';
import type { VerifiedSvid } from '#certs/verify-svid.ts';

/**
 * What OpenSSL says when a chain ends at a trusted certificate that is not self-signed. Node's TLS server does not pass
 * `allowPartialTrustChain` on to its context (26.10, lib/_tls_wrap.js, `setSecureContext`); its client does.
 */
const partialChainCodes: ReadonlySet<string> = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/**
 * OpenSSL's objection to the peer of `socket`, or undefined when it has none. The one that is overlooked is that it cannot see
 * beyond a root of the bundle that an operator's own, unpublished CA signed: `verifySvid` has found that very root.
 */
export function opensslObjection(socket: TLSSocket, { root }: VerifiedSvid): `openssl_${string}` | undefined {
  if (socket.authorized) return undefined;
  const code = codeOf(socket.authorizationError);
  const isSelfSigned = root.subject.equals(root.issuer);
  if (!isSelfSigned && partialChainCodes.has(code)) return undefined;
  return `openssl_${code.toLowerCase()}`;
}

/** Node gives the code as a text or in an Error. */
function codeOf(error: unknown): string {
  return String((error instanceof Error && 'code' in error ? error.code : error) ?? 'unauthorized');
}
