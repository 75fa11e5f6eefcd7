import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';
import { duplicateMember } from './json-duplicates.ts';
import { parseTrustDomain } from './spiffe-id.ts';
import { bundlesOf, parseTrustBundle, serializeTrustBundle, type TrustBundles } from './trust-bundle.ts';

/**
 * The bundles of several trust domains in one document: `{"trust_domains": {"<trust domain>": <bundle>}}` (SPIFFE Trust Domain and
 * Bundle, bundle map). They stay apart: nothing here merges them.
 */
export function serializeTrustBundles(bundles: TrustBundles): string {
  const entries = [...bundles.values()].map(
    (bundle) => [bundle.trustDomain, JSON.parse(serializeTrustBundle(bundle)) as unknown] as const,
  );
  return JSON.stringify({ trust_domains: Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1))) });
}

/** @throws CellmeshError `trust_bundle_invalid` */
export function parseTrustBundles(json: string): TrustBundles {
  try {
    const duplicate = duplicateMember(json);
    if (duplicate !== undefined) throw new Error(`${duplicate} is there twice`);
    const document = JSON.parse(json) as { trust_domains?: unknown };
    const map = document.trust_domains;
    if (typeof map !== 'object' || map === null || Array.isArray(map)) throw new Error('`trust_domains` is missing');
    return bundlesOf(
      ...Object.entries(map).map(([name, bundle]) => parseTrustBundle(JSON.stringify(bundle), parseTrustDomain(name))),
    );
  } catch (cause) {
    if (isCellmeshError(cause)) throw cause;
    throw new CellmeshError('trust_bundle_invalid', `the trust bundles are refused: ${(cause as Error).message}`, {
      cause,
    });
  }
}
