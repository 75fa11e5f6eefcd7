import { inspectSvid } from '#certs/svid.ts';
import type { AuthorityFacts, ClusterFacts } from '../cluster-facts.ts';
import { type CertificateFacts, type CertificateKind, type CertificateSpan, factOf } from '../facts.ts';
import { spanOfChain } from './certificates.ts';

/** What ends in a cluster, as far as it lies in objects; and who asks, where that is by an SVID. */
export async function certificatesInCluster(
  { roots, webhooks }: Pick<ClusterFacts, 'roots' | 'webhooks'>,
  admin: string | undefined,
  signal: AbortSignal,
): Promise<readonly CertificateFacts[]> {
  const found = 'unknown' in roots ? roots : { value: roots.value.map((one) => spanOf('root', one)) };
  const hooks = 'unknown' in webhooks ? [] : webhooks.value;
  return [
    { of: 'the cell', kinds: ['root'], found },
    ...hooks.flatMap(({ configuration, found }): CertificateFacts[] => {
      const spans = (found?.authorities ?? []).map((one) => spanOf('webhook', one));
      return spans.length === 0 ? [] : [{ of: configuration, kinds: ['webhook'], found: { value: spans } }];
    }),
    ...(admin === undefined ? [] : [await ofAdministrator(admin, signal)]),
  ];
}

async function ofAdministrator(directory: string, signal: AbortSignal): Promise<CertificateFacts> {
  return {
    of: `the administrator in ${directory}`,
    kinds: ['svid', 'intermediate'],
    found: await factOf(async () => (await inspectSvid(directory)).chain.map(spanOfChain), signal),
  };
}

function spanOf(kind: CertificateKind, { notBefore, notAfter }: AuthorityFacts): CertificateSpan {
  return { kind, notBefore, notAfter };
}
