import type { TLSSocket } from 'node:tls';
import { chainCertificatesMax } from '#certs/verify-svid.ts';

/**
 * The certificates that the peer presented, as DER, leaf first. `getPeerX509Certificate()` and its `issuerCertificate` give them
 * in the order of the wire at a server; at a client OpenSSL has sorted them and left out what is of no use. Neither adds roots
 * from the store or ends in a circle, as `getPeerCertificate(true)` does. The walk is bounded all the same: one more than is
 * accepted, so that the rule can be named.
 *
 * Node 26.8 and 24.21 lose the issuers of an authorized client before anybody can ask (nodejs/node#65579); 26.10 does not. With
 * those a server sees a leaf alone and refuses it: `hidesIssuers` helps to say why.
 */
export function peerChain(socket: TLSSocket): readonly Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length <= chainCertificatesMax) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** Whether OpenSSL was content with a chain of which Node shows the leaf only. */
export function hidesIssuers(socket: TLSSocket, chain: readonly Buffer[]): boolean {
  return socket.authorized && chain.length === 1;
}
