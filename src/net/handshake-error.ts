import type { PeerRule } from './peer-refused.ts';

/** What OpenSSL says of a client that speaks HTTP, and of one whose first bytes are no record of TLS at all. */
const plaintextErrors = ['ERR_SSL_HTTP_REQUEST', 'ERR_SSL_HTTPS_PROXY_REQUEST', 'ERR_SSL_WRONG_VERSION_NUMBER'];

/** Which rule a handshake broke that came to no end. */
export function ruleOfHandshake(error: Error): PeerRule {
  const code = 'code' in error ? String(error.code) : '';
  if (code === 'ERR_SSL_NO_APPLICATION_PROTOCOL') return 'alpn';
  return plaintextErrors.includes(code) ? 'plaintext' : 'handshake';
}

/** OpenSSL's errors have a short reason beside a message full of its source lines. */
export function handshakeReason(error: Error): string {
  return 'reason' in error && typeof error.reason === 'string' ? error.reason : error.message;
}
