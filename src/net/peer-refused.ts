import type { SvidRule } from '#certs/svid-rules.ts';
import { CellmeshError } from '#runtime/errors.ts';

/**
 * Why a connection was not accepted, or not made: a rule for SVIDs, or one of the connection itself. `openssl_<code>` is OpenSSL's
 * own verdict where ours had nothing against the chain.
 */
export type PeerRule =
  | SvidRule
  | 'certificate_missing'
  | 'id_unexpected'
  | 'alpn'
  | 'handshake'
  | 'handshake_timeout'
  | 'connections_max'
  | 'handshakes_max'
  | 'handler_failed'
  | `openssl_${string}`;

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
