import type { Svid } from '#certs/svid.ts';
import type { TrustBundles } from '#certs/trust-bundle.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';

/** Who this process is towards its peers, and whose word it takes about them. Frozen: a change is a new value in a `Watch`. */
export interface TlsIdentity {
  readonly svid: Svid;
  readonly bundles: TrustBundles;
}

/** Joins an SVID and bundles that change separately. `close` ends the subscriptions. */
export function watchTlsIdentity(
  svid: Watch<Svid>,
  bundles: Watch<TrustBundles>,
): { readonly identity: Watch<TlsIdentity>; close(): void } {
  const current = () => Object.freeze({ svid: svid.current, bundles: bundles.current });
  const identity = new WatchSource<TlsIdentity>(current());
  const unsubscribe = [svid, bundles].map((watch) => watch.subscribe(() => identity.set(current())));
  return { identity, close: () => unsubscribe.forEach((end) => void end()) };
}

/** When the chain that this identity presents ends. */
export function ownNotAfter({ svid }: TlsIdentity): number {
  return Math.min(...svid.chain.map(({ notAfter }) => notAfter));
}
