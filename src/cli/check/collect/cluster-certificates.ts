import type { AuthorityFacts, ClusterFacts } from '../cluster-facts.ts';
import type { CertificateFacts, CertificateKind, CertificateSpan } from '../facts.ts';

/** What ends in a cluster, as far as it lies in objects. */
export function certificatesInCluster({
  roots,
  webhooks,
}: Pick<ClusterFacts, 'roots' | 'webhooks'>): readonly CertificateFacts[] {
  const found = 'unknown' in roots ? roots : { value: roots.value.map((one) => spanOf('root', one)) };
  const hooks = 'unknown' in webhooks ? [] : webhooks.value;
  return [
    { of: 'the cell', kinds: ['root'], found },
    ...hooks.flatMap(({ configuration, found }): CertificateFacts[] => {
      const spans = (found?.authorities ?? []).map((one) => spanOf('webhook', one));
      return spans.length === 0 ? [] : [{ of: configuration, kinds: ['webhook'], found: { value: spans } }];
    }),
  ];
}

function spanOf(kind: CertificateKind, { notBefore, notAfter }: AuthorityFacts): CertificateSpan {
  return { kind, notBefore, notAfter };
}
