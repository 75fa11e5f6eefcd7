import { isRouterId } from '#certs/reserved-ids.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import type { VerifiedPeer } from '#net/verified-peer.ts';
import { unmeshed } from '#policy/peer-pattern.ts';
import type { OpenRecord } from './decision-log.ts';

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

/** Whether it is a router of the platform. */
export function isRouterPeer(peer: InboundPeer, globalTrustDomain: TrustDomain): boolean {
  return !isPlaintext(peer) && peer.trustDomain === globalTrustDomain && isRouterId(globalTrustDomain, peer.id);
}

/** Whose word about a customer counts: workloads of the cell, and routers of the platform. */
export function isBelieved(peer: InboundPeer, isRouter: boolean, trustDomain: TrustDomain): boolean {
  return isRouter || (!isPlaintext(peer) && peer.trustDomain === trustDomain);
}

/** Tells IDs of other trust domains than the platform's. */
export function foreignTo(own: { readonly trustDomain: TrustDomain; readonly globalTrustDomain: TrustDomain }) {
  const starts = [own.trustDomain, own.globalTrustDomain].map((domain) => `spiffe://${domain}/`);
  return (id: string): boolean => id.startsWith('spiffe://') && !starts.some((start) => id.startsWith(start));
}

export function isPlaintext(peer: InboundPeer): peer is PlaintextPeer {
  return peer.id === unmeshed;
}

export function notePeer(record: OpenRecord, peer: InboundPeer): void {
  record.peer = peer.id;
  if (isPlaintext(peer)) record.address = peer.address;
}
