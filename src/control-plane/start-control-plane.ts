import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startApiServer } from '#api/api-server.ts';
import { rootsService } from '#api/roots-service.ts';
import { svidIssuerService } from '#api/svid-issuer-service.ts';
import { JoinTokens } from '#certs/join-token.ts';
import { joinTokenMigration, sqliteJoinTokenStore } from '#certs/join-token-store-sqlite.ts';
import { observeRoots } from '#certs/observe-roots.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import { type DecisionStore, decisionMigration } from '#feeds/decision-store.ts';
import { FeedServer } from '#feeds/feed-server.ts';
import { observeStore } from '#feeds/observe-decisions.ts';
import type { FeedType } from '#feeds/snapshot.ts';
import { RefusalLog } from '#net/refusal-log.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { startHealthServer } from '#runtime/health-server.ts';
import type { Logger } from '#runtime/logger.ts';
import { Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { WatchSource } from '#runtime/watch.ts';
import type { KeySet } from '#tokens/key-set.ts';
import { RateLimiter } from '#traffic/gcra.ts';
import { CellPublisher } from './cell-publisher.ts';
import { type CellTrust, openCellTrust } from './cell-trust.ts';
import { type Cluster, joinedByTokenMigration, openCluster } from './cluster.ts';
import { controlPlaneService } from './control-plane-service.ts';
import { type IdentityFeed, subscribeToIdentity } from './identity-feed.ts';
import { PolicySource } from './policy-source.ts';
import { Records, recordsMigration } from './records.ts';
import { Registrations, registrationMigration } from './registrations.ts';
import type { ControlPlaneConfig } from './settings.ts';

/** In the order in which they were added. */
const migrations = [
  joinTokenMigration,
  decisionMigration,
  registrationMigration,
  recordsMigration,
  joinedByTokenMigration,
];

export interface ProcessDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface RunningControlPlane extends AsyncDisposable {
  readonly address: { readonly host: string; readonly port: number };
  readonly healthPort: number;
  readonly trustDomain: TrustDomain;
  readonly joinTokens: JoinTokens;
  /** Why it is not ready; empty when it is. */
  notReady(): readonly string[];
}

/**
 * Starts a cell's control plane: its authority, the feeds to sidecars and routers, and the store of decisions.
 * @throws CellmeshError with what is missing or taken
 */
export async function startControlPlane(
  config: ControlPlaneConfig,
  dependencies: ProcessDependencies,
): Promise<RunningControlPlane> {
  const { clock, random, logger } = dependencies;
  await using starting = new AsyncDisposableStack();
  const abort = new AbortController();
  starting.defer(() => abort.abort(new Error('the control plane stops')));
  await mkdir(config.stateDir, { recursive: true, mode: 0o700 });
  const database = openState(config);
  starting.defer(() => database.close());

  const policy = starting.use(await PolicySource.open({ directory: config.manifestsDir, clock, logger }));
  const { trustDomain } = policy.cell.current.document;
  refuseAnotherDomain(config, policy.cell.current.document.domain);
  const trust = await openCellTrust(config, trustDomain, dependencies, abort.signal);
  starting.defer(() => trust.close());

  const joinTokens = new JoinTokens({ store: sqliteJoinTokenStore(database), clock, random });
  const onRolloutWithdrawn = () => changed('policy');
  const records = starting.use(
    new Records({ ...config, ...dependencies, database, cell: policy.cell, onRolloutWithdrawn }),
  );
  const keySet = new WatchSource<KeySet | undefined>(undefined);
  const identityFeed = starting.use(await followIdentity(config, dependencies, trust, keySet));
  const registrations: Registrations = starting.use(
    new Registrations({ database, clock, onChanged: () => changed('endpoints') }),
  );
  const publisher = new CellPublisher({
    cell: policy.cell,
    rollouts: records.rollouts,
    bundles: trust.bundles,
    keySet,
    registrations,
    isReady: (address) => cluster.isReady(address),
    askForKey: (iss, kid) => identityFeed?.askForKey(iss, kid),
    clock,
  });
  const feeds = starting.use(new FeedServer({ publisher, clock, logger }));
  const changed = (...types: FeedType[]) => {
    for (const type of types) publisher.revisions.revise(type);
    feeds.changed(...types);
  };
  const onReadinessChanged = (host: string) => void (registrations.hasHost(host) && changed('endpoints'));
  const cluster: Cluster = starting.use(
    await openCluster({ config, ...dependencies, database, joinTokens, trustDomain, onReadinessChanged }),
  );
  starting.defer(policy.cell.subscribe(() => changed('policy', 'endpoints', 'routes')));
  starting.defer(followRoots(trust, feeds, identityFeed, () => changed('bundles')));
  starting.defer(keySet.subscribe(() => changed('keys')));

  const refusals = starting.use(new RefusalLog({ clock, logger }));
  const server = starting.use(
    await startApiServer({
      ...config.listen,
      identity: trust.identity,
      domains: { own: trustDomain, global: config.globalTrustDomain },
      rateLimiter: new RateLimiter(clock),
      clock,
      logger,
      onRefused: (refusal) => refusals.record(refusal),
      services: [
        ...trustServices(trust, cluster, logger),
        feeds.service,
        ...records.services,
        controlPlaneService(joinTokens, policy, feeds),
      ],
    }),
  );
  const isWaiting = () => identityFeed !== undefined && keySet.current === undefined;
  const notReady = () => (isWaiting() ? ['keys: identity has not told any token keys yet'] : []);
  const health = starting.use(
    await startHealthServer({ ...config.health, notReady, metrics: observe(feeds, records.decisions, cluster, trust) }),
  );
  logger.info('control plane serves', { ...server.address, trustDomain, policy: policy.cell.current.compiled.version });
  const owned = starting.move();
  return {
    address: server.address,
    healthPort: health.port,
    trustDomain,
    joinTokens,
    notReady,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function openState({ stateDir }: ControlPlaneConfig) {
  return openDatabase({ file: join(stateDir, 'control-plane.db'), application: 'control-plane', migrations });
}

/** Where token keys come from, if it is known. */
async function followIdentity(
  config: ControlPlaneConfig,
  dependencies: ProcessDependencies,
  { identity, roots, globalBundle }: CellTrust,
  keySet: WatchSource<KeySet | undefined>,
) {
  const { identity: address } = config;
  if (address === undefined || globalBundle === undefined) return undefined;
  const trusted = { identity, globalBundle, bundle: roots.bundle };
  return await subscribeToIdentity({ ...dependencies, ...config, ...trusted, address, keySet });
}

function trustServices(trust: CellTrust, { attestor }: Cluster, logger: Logger) {
  return [svidIssuerService({ ...trust, logger, attestor }), rootsService(trust)];
}

/** Roots are rotated as those who trust them hear of it. */
function followRoots(
  { bundles, roots }: CellTrust,
  feeds: FeedServer,
  identityFeed: IdentityFeed | undefined,
  onChanged: () => void,
): () => void {
  const unsubscribe = bundles.subscribe(onChanged);
  roots.follow(() => [...feeds.behind('bundles').map((name) => ({ name })), ...(identityFeed?.listeners() ?? [])]);
  return unsubscribe;
}

function refuseAnotherDomain({ globalTrustDomain }: ControlPlaneConfig, domain: TrustDomain): void {
  if (domain === globalTrustDomain) return;
  throw new CellmeshError(
    'config_invalid',
    `the cell document names ${domain} as the global trust domain, the settings ${globalTrustDomain}`,
  );
}

function observe(feeds: FeedServer, decisions: DecisionStore, { podsAgeMs }: Cluster, trust: CellTrust): Metrics {
  const metrics = new Metrics();
  observeRoots(metrics, trust);
  metrics.observed(
    'cellmesh_feed_subscribers',
    'Sidecars and routers that are connected.',
    () => feeds.subscribers().length,
  );
  metrics.observed(
    'cellmesh_feed_subscribers_behind',
    'Subscribers that refused or have not acknowledged what they were sent.',
    () => {
      return feeds
        .subscribers()
        .filter(({ types }) => types.some(({ revisionSent, revisionAcked }) => revisionSent > revisionAcked)).length;
    },
  );
  if (podsAgeMs !== undefined) {
    const help = 'Seconds since the API server of Kubernetes was last heard of pods.';
    metrics.observed('cellmesh_pods_age_seconds', help, () => podsAgeMs() / 1000);
  }
  observeStore(metrics, decisions);
  return metrics;
}
