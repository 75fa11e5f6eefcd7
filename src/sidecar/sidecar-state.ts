import type { SpiffeId } from '#certs/spiffe-id.ts';
import { parseTrustBundles } from '#certs/trust-bundle-map.ts';
import type { FeedClientOptions } from '#feeds/feed-client.ts';
import type { FeedType } from '#feeds/snapshot.ts';
import { type EndpointsByService, parseEndpoints } from '#net/endpoints.ts';
import type { OwnIdentity } from '#net/own-identity.ts';
import { parsePolicySnapshot } from '#policy/snapshot.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { WatchSource } from '#runtime/watch.ts';
import { KeySet, parseKeySet } from '#tokens/key-set.ts';
import { type ActivePolicy, activePolicy } from './active-policy.ts';

/** Without these a sidecar cannot decide about a request; `endpoints` may be empty for good. */
export const neededTypes: readonly FeedType[] = ['bundles', 'keys', 'policy'];

/** What the control plane has told, as values that requests look up. */
export class SidecarState {
  readonly policy = new WatchSource<ActivePolicy | undefined>(undefined);
  readonly keySet = new WatchSource<KeySet>(KeySet.empty);
  readonly endpoints = new WatchSource<EndpointsByService>(new Map());
  readonly #self: SpiffeId;

  constructor(self: SpiffeId) {
    this.#self = self;
  }

  /** Takes documents into use; what throws is refused, and the former one stays. */
  receivers(identity: OwnIdentity): FeedClientOptions['apply'] {
    return {
      bundles: (document) => identity.setBundles(parseTrustBundles(document)),
      keys: (document) => this.keySet.set(parseKeySet(document)),
      policy: (document) => this.#applyPolicy(document),
      endpoints: (document) => this.endpoints.set(parseEndpoints(document)),
    };
  }

  #applyPolicy(document: string): void {
    const snapshot = parsePolicySnapshot(document);
    if (snapshot.service.id !== this.#self) {
      throw new CellmeshError(
        'policy_snapshot_invalid',
        `the policy is of ${snapshot.service.id}, this is ${this.#self}`,
      );
    }
    this.policy.set(activePolicy(snapshot));
  }
}
