import { bundlesOf, type TrustBundle } from '#certs/trust-bundle.ts';
import { serializeTrustBundles } from '#certs/trust-bundle-map.ts';
import type { FeedPublisher, FeedSubscriber } from '#feeds/feed-session.ts';
import { Revisions } from '#feeds/revisions.ts';
import type { FeedSnapshot, FeedType } from '#feeds/snapshot.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Secret } from '#runtime/secret.ts';
import type { Watch } from '#runtime/watch.ts';
import { serializeAccountMap } from '#tokens/account-map.ts';
import { serializeCellDirectory } from '#tokens/cell-directory.ts';
import { type KeySet, serializeKeySet } from '#tokens/key-set.ts';
import { serializeKeyStatus } from '#tokens/key-status.ts';
import type { IdentityStore } from './identity-store.ts';

interface IdentityPublisherOptions {
  readonly store: IdentityStore;
  readonly tagKey: Secret<Buffer>;
  readonly keySet: Watch<KeySet>;
  /** Of the global trust domain. */
  readonly roots: { readonly bundle: Watch<TrustBundle> };
  readonly clock: Clock;
}

/** What identity hands out: its roots and token keys to control planes, everything that a router must know to routers. */
export class IdentityPublisher implements FeedPublisher {
  readonly #options: IdentityPublisherOptions;
  readonly revisions: Revisions;

  constructor(options: IdentityPublisherOptions) {
    this.#options = options;
    this.revisions = new Revisions(options.clock);
  }

  snapshotFor(type: FeedType, { caller }: FeedSubscriber): FeedSnapshot | undefined {
    const document = this.#document(type, caller.kind === 'router');
    return document === undefined ? undefined : { type, ...this.revisions.of(type), requires: [], document };
  }

  onHeld(type: FeedType, revision: number): void {
    this.revisions.seen(type, revision);
  }

  #document(type: FeedType, isRouter: boolean): string | undefined {
    const { store, tagKey, keySet, roots } = this.#options;
    if (type === 'bundles') return serializeTrustBundles(bundlesOf(roots.bundle.current));
    if (type === 'keys') return serializeKeySet(keySet.current);
    if (!isRouter) return undefined;
    switch (type) {
      case 'accounts':
        return serializeAccountMap(store.accountMap());
      case 'key-status':
        return serializeKeyStatus({ tagKey, keys: store.keyStatuses() });
      case 'cells':
        return serializeCellDirectory(store.cells());
      default:
        return undefined;
    }
  }
}
