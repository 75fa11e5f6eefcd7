import { authorityExtensions, handmade, party } from './handmade-certificates.ts';

/** The trust bundle of an authority of somebody's own, whose root does not name its trust domain. */
export function namelessTrustBundle(): string {
  const issuer = party('Own CA');
  const [usage, constraints] = authorityExtensions('any.example');
  const notBefore = Date.now() - 60_000;
  const der = handmade({
    ...{ issuer, publicKey: issuer.publicKey, subject: issuer.name, notBefore, notAfter: notBefore + 3_600_000 },
    extensions: [usage!, constraints!],
  });
  const key = { ...issuer.publicKey.export({ format: 'jwk' }), use: 'x509-svid', x5c: [der.toString('base64')] };
  return JSON.stringify({ spiffe_sequence: 1, keys: [key] });
}
