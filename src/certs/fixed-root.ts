import { CellmeshError } from '#runtime/errors.ts';
import { WatchSource } from '#runtime/watch.ts';
import type { Certificate } from './certificate.ts';
import { type SignIntermediateOptions, signIntermediate } from './intermediate.ts';
import { type RootHolder, refuseExpired, statusOf } from './root-holder.ts';
import type { RootSigner } from './root-signer.ts';
import { firstSequence } from './roots.ts';
import { brokenIssuerRule } from './svid-rules.ts';
import type { TrustBundle } from './trust-bundle.ts';

interface FixedRootOptions extends SignIntermediateOptions {
  /** Roots that are trusted beside it. */
  readonly otherRoots?: readonly Certificate[];
}

/**
 * An operator's own root: it signs, and is replaced by its operator.
 * @throws CellmeshError `svid_not_issued` when a root cannot be one for the trust domain, `root_expired`
 */
export function fixedRoot(signer: RootSigner, options: FixedRootOptions): RootHolder {
  const { trustDomain, otherRoots = [] } = options;
  const roots = [signer.certificate, ...otherRoots];
  for (const [index, root] of roots.entries()) {
    // Below the signer's own comes our intermediate; what the others sign is not ours to know.
    const broken = brokenIssuerRule(root, trustDomain, index === 0 ? 1 : 0);
    if (broken === undefined) continue;
    throw new CellmeshError('svid_not_issued', `a root of ${trustDomain} breaks ${broken.rule}: ${broken.reason}`);
  }
  refuseExpired(signer.certificate, options, "it is its operator's (--root-key), who replaces it");
  const sequence = Math.max(...roots.map(firstSequence));
  const bundle = new WatchSource<TrustBundle>(Object.freeze({ trustDomain, sequence, roots: Object.freeze(roots) }));
  return {
    bundle,
    intermediates: { requestIntermediate: async (csr) => (await signIntermediate(signer, csr, options)).der },
    status: () => ({
      sequence,
      roots: roots.map((root, index) => statusOf(root, index === 0 ? 'active' : 'published')),
      waits: undefined,
      beginsAt: undefined,
    }),
    async rotate() {
      throw new CellmeshError(
        'rotation_refused',
        `the root of ${trustDomain} is its operator's (--root-key): put another pair of files there, and start again`,
      );
    },
    follow() {},
    [Symbol.dispose]() {},
  };
}
