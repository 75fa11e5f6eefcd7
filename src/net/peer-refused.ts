import type { SvidRule } from '#certs/svid-rules.ts';
import { CellmeshError } from '#runtime/errors.ts';

/** Rules of the connection itself, beside those for SVIDs. Each entry is the name that logs, metrics and `PeerRefused.rule` carry. */
export const connectionRules = {
  certificate_missing: 'The other end presents a certificate.',
  id_unexpected: 'Its valid SVID is of whom this end expects, not of somebody else.',
  alpn: 'Both ends have a protocol in common.',
  plaintext: 'The other end speaks TLS; without it nobody is let in, but as `inbound` of the manifest says.',
  handshake: 'The TLS handshake comes to its end.',
  handshake_timeout: 'The handshake comes to its end in time.',
  connections_max: 'The listener has room for another connection.',
  handshakes_max: 'The listener has room for another handshake.',
  handler_failed: 'Nothing in cellmesh itself fails while it accepts; report it if this is broken.',
} as const;

/** Why a connection was not accepted, or not made. `openssl_<code>` is OpenSSL's own verdict where ours had nothing against the chain. */
export type PeerRule = SvidRule | keyof typeof connectionRules | `openssl_${string}`;

/** The other end is not who it must be. */
export class PeerRefused extends CellmeshError {
  readonly rule: PeerRule;
  /** The message without the rule. */
  readonly reason: string;

  constructor(rule: PeerRule, reason: string, cause?: unknown) {
    super('peer_refused', `${rule}: ${reason}`, { cause });
    this.name = 'PeerRefused';
    this.rule = rule;
    this.reason = reason;
  }
}
