import { type SpiffeId, trustDomainOf } from '#certs/spiffe-id.ts';
import { bundlesOf, type TrustBundle, type TrustBundles } from '#certs/trust-bundle.ts';
import { serializeTrustBundles } from '#certs/trust-bundle-map.ts';
import type { FeedServer } from '#feeds/feed-server.ts';
import type { FeedPublisher, FeedRegistration, FeedSubscriber } from '#feeds/feed-session.ts';
import { Revisions } from '#feeds/revisions.ts';
import type { FeedSnapshot, FeedType } from '#feeds/snapshot.ts';
import { type Endpoint, serializeEndpoints } from '#net/endpoints.ts';
import { serializeRoutes } from '#policy/routes.ts';
import { type PolicySnapshot, serializePolicySnapshot } from '#policy/snapshot.ts';
import { federationFeature, requiredFeatures } from '#policy/snapshot-features.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import { KeySet, serializeKeySet } from '#tokens/key-set.ts';
import type { Cluster } from './cluster.ts';
import type { LoadedCell } from './policy-source.ts';
import type { Registrations } from './registrations.ts';
import type { Rollouts } from './rollouts.ts';

interface CellPublisherOptions {
  readonly cell: Watch<LoadedCell>;
  readonly rollouts: Pick<Rollouts, 'effective'>;
  readonly bundles: Watch<TrustBundles>;
  readonly keySet: Watch<KeySet | undefined>;
  readonly registrations: Registrations;
  readonly cluster: () => Pick<Cluster, 'endpointsOf' | 'zoneAt'>;
  readonly askForKey: (iss: string, kid: string) => void;
  readonly clock: Clock;
}

/** What a cell's control plane hands out, to each subscriber only what its own service needs. */
export class CellPublisher implements FeedPublisher {
  readonly #options: CellPublisherOptions;
  readonly revisions: Revisions;

  constructor(options: CellPublisherOptions) {
    this.#options = options;
    this.revisions = new Revisions(options.clock);
  }

  snapshotFor(type: FeedType, subscriber: FeedSubscriber): FeedSnapshot | undefined {
    const { caller } = subscriber;
    const document = this.#documentFor(type, subscriber);
    if (document === undefined) return undefined;
    const policy = type === 'policy' ? this.#policyOf(caller.peer!.id) : undefined;
    const requires = policy === undefined ? [] : requiredFeatures(policy);
    return { type, ...this.revisions.of(type), requires, document };
  }

  onHeld(type: FeedType, revision: number): void {
    this.revisions.seen(type, revision);
  }

  onRegistration({ caller, instance }: FeedSubscriber, registration: FeedRegistration | undefined): void {
    if (caller.kind !== 'workload') return;
    const service = caller.peer!.id;
    if (registration === undefined) this.#options.registrations.lost(service, instance);
    else {
      const { address, port, locality, weight } = registration;
      this.#options.registrations.register(service, instance, { host: address, port, locality, weight });
    }
  }

  onWithdrawal({ caller, instance }: FeedSubscriber): void {
    this.#options.registrations.remove(caller.peer!.id, instance);
  }

  onKeyQuestion(_: FeedSubscriber, { iss, kid }: { iss: string; kid: string }): void {
    this.#options.askForKey(iss, kid);
  }

  /** The instances of `service` are others: to those whose business it is. */
  pushEndpoints(feeds: FeedServer, service: SpiffeId): void {
    this.revisions.revise('endpoints');
    feeds.changedFor('endpoints', (subscriber) => this.#isConcerned(subscriber, service));
  }

  /** Whether the instances of `service` are this subscriber's business: it calls it, or is one itself, which may be told where it is. */
  #isConcerned({ caller }: FeedSubscriber, service: SpiffeId): boolean {
    if (caller.kind === 'router') return true;
    const peer = caller.peer!.id;
    return peer === service || this.#policyOf(peer)?.calls.some(({ id }) => id === service) === true;
  }

  #documentFor(type: FeedType, subscriber: FeedSubscriber): string | undefined {
    const { caller, features } = subscriber;
    const { cell, bundles, keySet } = this.#options;
    const isRouter = caller.kind === 'router';
    const { document, compiled } = cell.current;
    const snapshot = this.#policyOf(caller.peer!.id);
    switch (type) {
      case 'bundles':
        // A sidecar from before goes without: its own roots must come to it all the same.
        return features.has(federationFeature) && snapshot !== undefined
          ? serializeTrustBundles(bundlesOf(...bundles.current.values(), ...this.#federatedWith(snapshot)))
          : serializeTrustBundles(bundles.current);
      case 'keys': {
        const keys = keySet.current?.keys().filter(({ iss }) => iss === document.tokenIssuer);
        return keys === undefined || isRouter ? undefined : serializeKeySet(new KeySet(keys));
      }
      case 'policy':
        return snapshot === undefined ? undefined : serializePolicySnapshot(snapshot);
      case 'endpoints':
        if (isRouter)
          return this.#endpoints(
            compiled.routes.routes.map(({ id }) => id),
            subscriber,
          );
        return (
          snapshot &&
          this.#endpoints(
            snapshot.calls.map(({ id }) => id),
            subscriber,
          )
        );
      case 'routes':
        return isRouter ? serializeRoutes(compiled.routes) : undefined;
      case 'revocations':
      case 'accounts':
      case 'key-status':
      case 'cells':
        return undefined;
    }
  }

  #policyOf(service: SpiffeId): PolicySnapshot | undefined {
    const { cell, rollouts } = this.#options;
    const snapshot = cell.current.compiled.snapshots.get(service);
    return snapshot && rollouts.effective(snapshot);
  }

  /** What lies in the zone of the subscriber has the subscriber's own word for where it is: it prefers that, and need not know its zone. */
  #endpoints(services: readonly SpiffeId[], { caller, instance }: FeedSubscriber): string | undefined {
    const { registrations, cluster } = this.#options;
    const { endpointsOf, zoneAt } = cluster();
    const own = registrations.endpointOf(caller.peer!.id, instance);
    const zone = own && zoneAt(own.host);
    const entries = services.map((service) => {
      const endpoints = endpointsOf(service, registrations.endpointsOf(service));
      const near = ({ locality, ...rest }: Endpoint) => ({
        ...rest,
        locality: locality === zone ? own!.locality : locality,
      });
      return [service, zone === undefined ? endpoints : endpoints?.map(near)] as const;
    });
    const known = entries.flatMap(([service, endpoints]) => (endpoints ? [[service, endpoints] as const] : []));
    return known.length < entries.length ? undefined : serializeEndpoints(new Map(known));
  }

  /** Those of others that rules of a service name. */
  #federatedWith({ rules, candidate }: PolicySnapshot): readonly TrustBundle[] {
    const named = new Set([...rules, ...(candidate?.rules ?? [])].flatMap(({ ids }) => ids.map(trustDomainOf)));
    return this.#options.cell.current.compiled.federation.filter(({ trustDomain }) => named.has(trustDomain));
  }
}
