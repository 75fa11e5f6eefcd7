import type { VerifiedPeer } from '#net/verified-peer.ts';
import { unmeshed } from '#policy/peer-pattern.ts';

/** Who is at the other end of a connection without TLS: nobody knows. */
export interface PlaintextPeer {
  readonly id: typeof unmeshed;
  /** Without a port. It proves nothing. */
  readonly address: string;
  /** Where it wanted to go before a packet filter sent it here. */
  readonly port: number | undefined;
}

export type InboundPeer = VerifiedPeer | PlaintextPeer;

export function plaintextPeer(address: string, port: number | undefined): PlaintextPeer {
  return Object.freeze({ id: unmeshed, address: address.replace(/^::ffff:(?=\d+\.)/, ''), port });
}

export function isPlaintext(peer: InboundPeer): peer is PlaintextPeer {
  return peer.id === unmeshed;
}
