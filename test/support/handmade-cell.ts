import { parseCertificate } from '#certs/certificate.ts';
import type { Der } from '#certs/der.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { bundlesOf } from '#certs/trust-bundle.ts';
import { authorityExtensions, type Handmade, handmade, leafExtensions, party } from './handmade-certificates.ts';

const hourMs = 3600_000;

/** A trust domain whose certificates are put together by hand, valid around `nowMs`: each can break what it likes. */
export function handmadeCell(domain: string, nowMs: number) {
  const id = `spiffe://${domain}/ns/messaging/sa/api`;
  const root = party('root');
  const intermediate = party('intermediate');
  const workload = party('workload');
  const good = leafExtensions(id);
  const validity = { notBefore: nowMs - hourMs, notAfter: nowMs + hourMs };
  const make = (fields: Handmade) => handmade({ ...validity, ...fields });
  const rootDer = make({
    issuer: root,
    subject: root.name,
    publicKey: root.publicKey,
    extensions: authorityExtensions(domain),
  });
  const trustDomain = parseTrustDomain(domain);
  return {
    id,
    trustDomain,
    workload,
    root,
    intermediate,
    make,
    bundles: bundlesOf({ trustDomain, sequence: 1, roots: [parseCertificate(rootDer)] }),
    leaf(change: Partial<Record<keyof typeof good, Der | undefined>> = {}, fields: Partial<Handmade> = {}): Buffer {
      const extensions = Object.values({ ...good, ...change }).filter((value) => value !== undefined);
      return make({ issuer: intermediate, publicKey: workload.publicKey, extensions, ...fields });
    },
    authority(fields: Partial<Handmade> = {}): Buffer {
      return make({
        issuer: root,
        subject: intermediate.name,
        publicKey: intermediate.publicKey,
        extensions: authorityExtensions(domain, 0),
        ...fields,
      });
    },
  };
}
