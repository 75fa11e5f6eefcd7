import type { TrustDomain } from '#certs/spiffe-id.ts';
import { parseTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import type { Position, Problems } from '#runtime/yaml-document.ts';
import type { Located } from './shapes.ts';

interface Domains {
  readonly trustDomain: TrustDomain;
  readonly domain: TrustDomain;
}

interface WrittenFederation {
  readonly trustDomain: TrustDomain;
  readonly trustBundle: string;
}

/** Whether a trust domain is another one than the platform's own: neither of this cell, nor of routers, nor of another cell, which no cell trusts. */
export function isForeign(trustDomain: TrustDomain, { trustDomain: own, domain }: Domains): boolean {
  return trustDomain !== own && trustDomain !== domain && !trustDomain.endsWith(`.${domain}`);
}

/** The bundles of foreign trust domains that a cell's document lists. */
export function readFederation(
  written: readonly Located<WrittenFederation>[],
  cell: Domains,
  problems: Problems,
): readonly TrustBundle[] {
  const seen = new Set<TrustDomain>();
  return written.flatMap(({ value: { trustDomain, trustBundle }, at }) => {
    if (!isForeign(trustDomain, cell))
      problems.add(
        at,
        `${trustDomain} is of the platform itself: federation is for others, and a cell trusts no other cell`,
      );
    if (seen.has(trustDomain)) problems.add(at, `a second entry is for ${trustDomain}`);
    seen.add(trustDomain);
    return bundleOf(trustBundle, trustDomain, at, problems) ?? [];
  });
}

function bundleOf(text: string, trustDomain: TrustDomain, at: Position, problems: Problems): TrustBundle | undefined {
  try {
    return parseTrustBundle(text, trustDomain);
  } catch (error) {
    if (!isCellmeshError(error)) throw error;
    return problems.add(at, `${trustDomain}: ${error.message}`);
  }
}
