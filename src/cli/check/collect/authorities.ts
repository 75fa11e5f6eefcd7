import { type Certificate, parseCertificate, parseCertificatesPem } from '#certs/certificate.ts';
import { listAt, textAt, textsAt } from '#kubernetes/json.ts';
import type { AuthorityFacts } from '../cluster-facts.ts';

/** Of a `caBundle`: base64 of PEM. None where nothing can be read. */
export function authoritiesOf(bundle: string): readonly AuthorityFacts[] {
  try {
    return parseCertificatesPem(Buffer.from(bundle, 'base64').toString('utf8')).map(authorityFactsOf);
  } catch {
    return [];
  }
}

/** Of a trust bundle, for looking: nothing is trusted by it. @throws CellmeshError `certificate_invalid` */
export function rootsOf(bundle: string): readonly AuthorityFacts[] {
  const keys = listAt(JSON.parse(bundle), 'keys').filter((key) => textAt(key, 'use') === 'x509-svid');
  return keys.map((key) => authorityFactsOf(parseCertificate(Buffer.from(textsAt(key, 'x5c')[0] ?? '', 'base64'))));
}

function authorityFactsOf({ der, notBefore, notAfter }: Certificate): AuthorityFacts {
  return { der: der.toString('base64'), notBefore, notAfter };
}
