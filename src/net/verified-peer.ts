import type { TLSSocket } from 'node:tls';
import { type SpiffeId, type TrustDomain, trustDomainOf } from '#certs/spiffe-id.ts';
import { SvidRejected } from '#certs/svid-rules.ts';
import type { TrustBundles } from '#certs/trust-bundle.ts';
import { type VerifiedSvid, verifySvid } from '#certs/verify-svid.ts';
import { opensslObjection } from './openssl-verdict.ts';
import { hidesIssuers, peerChain } from './peer-chain.ts';
import { PeerRefused } from './peer-refused.ts';

declare const verifiedPeerBrand: unique symbol;

/** The workload at the other end of a connection. Only `verifyPeer` makes one: who holds it need not ask again. */
export interface VerifiedPeer {
  readonly [verifiedPeerBrand]: true;
  readonly id: SpiffeId;
  readonly trustDomain: TrustDomain;
  /** Lower-case hex of its certificate's serial number. */
  readonly serial: string;
  /** When its chain ends, in milliseconds since the epoch. */
  readonly notAfter: number;
}

/** One SPIFFE ID, or a predicate where several are right. */
export type ExpectedPeer = SpiffeId | ((id: SpiffeId) => boolean);

interface PeerVerdict {
  readonly peer: VerifiedPeer;
  /** The chain, to be held against bundles that come later. */
  readonly svid: VerifiedSvid;
}

/**
 * Decides who is at the other end of a socket whose handshake is complete. Two readers must agree: our own rules, which can name
 * what is broken, and OpenSSL.
 * @throws PeerRefused
 */
export function verifyPeer(
  socket: TLSSocket,
  bundles: TrustBundles,
  nowMs: number,
  expect: ExpectedPeer = () => true,
): PeerVerdict {
  const chain = peerChain(socket);
  if (chain.length === 0) throw new PeerRefused('certificate_missing', 'the peer presented no certificate');
  const svid = verifyPresented(socket, chain, bundles, nowMs);
  if (!isExpected(expect, svid.id)) throw new PeerRefused('id_unexpected', unexpected(expect, svid.id));
  const objection = opensslObjection(socket, svid);
  if (objection !== undefined) throw new PeerRefused(objection, 'OpenSSL does not accept the chain');
  const peer = { id: svid.id, trustDomain: trustDomainOf(svid.id), serial: svid.leaf.serial, notAfter: svid.notAfter };
  return { peer: Object.freeze(peer) as VerifiedPeer, svid };
}

function verifyPresented(
  socket: TLSSocket,
  chain: readonly Buffer[],
  bundles: TrustBundles,
  nowMs: number,
): VerifiedSvid {
  try {
    return verifySvid(chain, bundles, nowMs);
  } catch (error) {
    if (!(error instanceof SvidRejected)) throw error;
    const isNodes = error.rule === 'root_unknown' && hidesIssuers(socket, chain);
    const hint = isNodes ? `; Node ${process.version} may hide issuers (nodejs/node#65579), 26.10 does not` : '';
    throw new PeerRefused(error.rule, error.reason + hint, error);
  }
}

function isExpected(expect: ExpectedPeer, id: SpiffeId): boolean {
  return typeof expect === 'function' ? expect(id) : expect === id;
}

function unexpected(expect: ExpectedPeer, id: SpiffeId): string {
  return typeof expect === 'function' ? `${id} is not expected here` : `the peer is ${id}, expected is ${expect}`;
}
