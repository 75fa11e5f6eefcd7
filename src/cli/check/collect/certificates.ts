import { join } from 'node:path';
import { type Certificate, parseCertificatesPem } from '#certs/certificate.ts';
import { readTextFile } from '#certs/private-file.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import { inspectSvid } from '#certs/svid.ts';
import { parseTrustBundle } from '#certs/trust-bundle.ts';
import { globalTrustDomain, type Installation, trustDomain } from '../../installation.ts';
import { type CertificateFacts, type CertificateSpan, type Facts, factOf, spanOf } from '../facts.ts';

/** Everything in a state directory that ends. Expired certificates are read like others. */
export function certificatesOnMachine(
  { services, router, controlPlane, identity }: Installation,
  signal: AbortSignal,
): Promise<readonly CertificateFacts[]> {
  const chain = async (of: string, stateDir: string, name: string): Promise<CertificateFacts> => ({
    ...{ of, kinds: ['svid', 'intermediate'] },
    found: await factOf(async () => (await inspectSvid(join(stateDir, name))).chain.map(spanOfChain), signal),
  });
  const bundle = async (of: string, stateDir: string, domain: TrustDomain): Promise<CertificateFacts> => ({
    ...{ of, kinds: ['root'] },
    found: await factOf(async () => {
      const text = await readTextFile(join(stateDir, 'trust-bundle.json'));
      return parseTrustBundle(text, domain).roots.map((root) => spanOf('root', root));
    }, signal),
  });
  const edge = async (): Promise<CertificateFacts> => ({
    ...{ of: 'the edge', kinds: ['web'] },
    found: await factOf(async () => {
      const text = await readTextFile(join(router.edgeDir, 'web.pem'));
      return parseCertificatesPem(text).map((one) => spanOf('web', one));
    }, signal),
  });
  return Promise.all([
    bundle('the cell', controlPlane.stateDir, trustDomain),
    bundle('the global trust domain', identity.stateDir, globalTrustDomain),
    chain('the administrator of the control plane', controlPlane.stateDir, 'admin'),
    chain('the administrator of identity', identity.stateDir, 'admin'),
    chain('the router', router.stateDir, 'svid'),
    ...services.map(({ namespace, name, stateDir }) => chain(`${namespace}/${name}`, stateDir, 'svid')),
    edge(),
  ]);
}

/** The bundles of others that a Cell names. Of several roots of one the last counts: they are being rotated. */
export function federatedCertificates(policy: Facts['policy']): readonly CertificateFacts[] {
  if ('unknown' in policy) return [];
  const bundles = policy.value.cells.flatMap(({ federation }) => federation);
  return bundles.map(({ trustDomain, roots }) => {
    const [last] = roots.toSorted((one, other) => other.notAfter - one.notAfter);
    return { of: trustDomain, kinds: ['federated'], found: { value: last ? [spanOf('federated', last)] : [] } };
  });
}

function spanOfChain(certificate: Certificate): CertificateSpan {
  return spanOf(certificate.basicConstraints?.isAuthority === true ? 'intermediate' : 'svid', certificate);
}
