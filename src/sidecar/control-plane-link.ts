import { ApiClient } from '#api/api-client.ts';
import { Feed } from '#api/generated/cellmesh/feeds/v1/feed_pb.ts';
import { Rollouts } from '#api/generated/cellmesh/policy/v1/rollouts_pb.ts';
import { type Evidence, joinRequester, type LastingEvidence, renewalRequester } from '#api/svid-issuer-service.ts';
import type { SvidRequester } from '#certs/renew-svid.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import type { TrustBundles } from '#certs/trust-bundle.ts';
import { DecisionReporter } from '#feeds/decision-reporter.ts';
import type { DecisionRing } from '#feeds/decision-ring.ts';
import { FeedClient, type FeedClientOptions } from '#feeds/feed-client.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { isFailedRecord } from '#policy/failed-record.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Address } from '#runtime/config.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { CandidateCounts } from './candidate-tally.ts';

interface ControlPlaneOptions {
  readonly address: Address;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The one file of the sidecar that knows what the control plane is called over. Who answers must be the control plane of this cell, to the letter. */
export class ControlPlaneLink {
  readonly #options: ControlPlaneOptions;

  constructor(options: ControlPlaneOptions) {
    this.#options = options;
  }

  /** Asks for the first SVID, knowing nobody but the bundles given; whoever uses it disposes it. */
  joining(bundles: TrustBundles, evidence: () => Promise<Evidence>): { requester: SvidRequester } & Disposable {
    const client = this.#client(new WatchSource({ bundles }));
    return { requester: joinRequester(client, evidence), [Symbol.dispose]: () => client[Symbol.dispose]() };
  }

  /**
   * Everything that is asked and told with an SVID in hand.
   * @param evidence what is shown beside it for another one
   */
  connected(identity: Watch<TlsIdentity>, evidence: () => Promise<LastingEvidence | undefined>): ControlPlaneSession {
    return new ControlPlaneSession(this.#client(identity), this.#options, evidence);
  }

  #client(identity: ConstructorParameters<typeof ApiClient>[0]['identity']): ApiClient {
    const { address, trustDomain, clock } = this.#options;
    return new ApiClient({ ...address, expect: controlPlaneId(trustDomain), identity, clock });
  }
}

class ControlPlaneSession implements Disposable {
  readonly renewal: SvidRequester;
  readonly #client: ApiClient;
  readonly #options: ControlPlaneOptions;

  constructor(client: ApiClient, options: ControlPlaneOptions, evidence: () => Promise<LastingEvidence | undefined>) {
    this.#client = client;
    this.#options = options;
    this.renewal = renewalRequester(client, evidence);
  }

  feeds(options: Pick<FeedClientOptions, 'apply' | 'features' | 'instance' | 'lastGood' | 'registration'>): FeedClient {
    const open = () => this.#client.open(Feed.method.subscribe);
    return new FeedClient({ ...this.#options, ...options, open, publisher: 'the control plane' });
  }

  decisionReporter(ring: DecisionRing): DecisionReporter {
    return new DecisionReporter({ ...this.#options, client: this.#client, ring, isFailure: isFailedRecord });
  }

  /** @param run names this run of the process */
  candidateReporter(run: string): (counts: CandidateCounts) => Promise<void> {
    return async ({ version, allowed, newlyDenied, newlyAllowed }) => {
      const counts = {
        allowed: BigInt(allowed),
        newlyDenied: BigInt(newlyDenied),
        newlyAllowed: BigInt(newlyAllowed),
      };
      await this.#client.call(Rollouts.method.report, { run, version, ...counts });
    };
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}
