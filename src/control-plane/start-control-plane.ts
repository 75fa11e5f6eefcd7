import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startApiServer } from '#api/api-server.ts';
import { rootsService } from '#api/roots-service.ts';
import { svidIssuerService } from '#api/svid-issuer-service.ts';
import { JoinTokens } from '#certs/join-token.ts';
import { joinTokenMigration } from '#certs/join-token-store-sqlite.ts';
import { observeRoots } from '#certs/observe-roots.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import { type DecisionStore, decisionMigration } from '#feeds/decision-store.ts';
import { FeedServer } from '#feeds/feed-server.ts';
import { observeStore } from '#feeds/observe-decisions.ts';
import type { FeedType } from '#feeds/snapshot.ts';
import { joinedByTokenMigration } from '#kubernetes/joined-by-token.ts';
import { RefusalLog } from '#net/refusal-log.ts';
import type { Clock } from '#runtime/clock.ts';
import { startHealthServer } from '#runtime/health-server.ts';
import type { Logger } from '#runtime/logger.ts';
import { Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { WatchSource } from '#runtime/watch.ts';
import { KeySet } from '#tokens/key-set.ts';
import { RateLimiter } from '#traffic/gcra.ts';
import { CellPublisher } from './cell-publisher.ts';
import { type CellTrust, openCellTrust } from './cell-trust.ts';
import { type Cluster, joinTokenStore, openCluster } from './cluster.ts';
import { controlPlaneService } from './control-plane-service.ts';
import { type IdentityFeed, subscribeToIdentity } from './identity-feed.ts';
import { type OpenedCell, openCell } from './open-cell.ts';
import { Records, recordsMigration } from './records.ts';
import { Registrations, registrationMigration } from './registrations.ts';
import type { OnWithdrawn } from './rollouts.ts';
import type { CellConfig, ControlPlaneConfig } from './settings.ts';

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
  /** Undefined without webhooks. */
  readonly webhookPort: number | undefined;
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
  given: ControlPlaneConfig,
  dependencies: ProcessDependencies,
): Promise<RunningControlPlane> {
  const { clock, random, logger } = dependencies;
  await using starting = new AsyncDisposableStack();
  const abort = new AbortController();
  starting.defer(() => abort.abort(new Error('the control plane stops')));
  await mkdir(given.stateDir, { recursive: true, mode: 0o700 });
  const database = openState(given);
  starting.defer(() => database.close());

  const cell = starting.use(await openCell(given, dependencies));
  const { policy, config } = cell;
  const { trustDomain } = policy.cell.current.document;
  const trust = await openCellTrust(cell, trustDomain, dependencies, abort.signal);
  starting.defer(() => trust.close());

  const joinTokens = new JoinTokens({ store: await joinTokenStore(database, cell.connection), clock, random });
  const onRolloutWithdrawn: OnWithdrawn = (told, mine) => (mine ? cluster.onWithdrawn(told) : changed('policy'));
  const records = starting.use(
    new Records({ ...config, ...dependencies, database, cell: policy.cell, onRolloutWithdrawn }),
  );
  const keySet = new WatchSource(keysOfNobody(config));
  const identityFeed = starting.use(await followIdentity(config, dependencies, trust, keySet));
  const registrations: Registrations = starting.use(
    new Registrations({ database, clock, onChanged: (service) => publisher.pushEndpoints(feeds, service) }),
  );
  const publisher: CellPublisher = new CellPublisher({
    ...{ cell: policy.cell, rollouts: records.rollouts, bundles: trust.bundles, keySet, registrations, clock },
    cluster: () => cluster,
    askForKey: (iss, kid) => identityFeed?.askForKey(iss, kid),
  });
  const feeds: FeedServer = starting.use(
    new FeedServer({ publisher, clock, logger, onProgress: () => cluster.onProgress?.() }),
  );
  const changed = (...types: FeedType[]) => {
    for (const type of types) publisher.revisions.revise(type);
    feeds.changed(...types);
  };
  const cluster: Cluster = starting.use(
    await openCluster({
      ...{ ...cell, ...dependencies, ...trust, database, joinTokens, registrations },
      ...{ trustDomain, feeds, publisher, changed, rollouts: records.rollouts },
    }),
  );
  starting.defer(policy.cell.subscribe(() => changed('bundles', 'policy', 'endpoints', 'routes')));
  starting.defer(followRoots(trust, feeds, cluster, identityFeed, () => changed('bundles')));
  starting.defer(keySet.subscribe(() => changed('keys')));

  const refusals = starting.use(new RefusalLog({ clock, logger }));
  const server = starting.use(
    await startApiServer({
      ...config.listen,
      identity: trust.identity,
      domains: { own: trustDomain, global: config.globalTrustDomain },
      rateLimiter: new RateLimiter(clock),
      ...dependencies,
      onRefused: (refusal) => refusals.record(refusal),
      operators: cluster.operators,
      services: [
        ...trustServices(trust, cluster, logger),
        feeds.service,
        ...records.services,
        controlPlaneService({ ...trust, ...records, joinTokens, policy, feeds, keySet, identityFeed, clock }),
      ],
    }),
  );
  const webhooks = starting.use(await openWebhooksOf(cell, dependencies, trust));
  const isWaiting = () => identityFeed !== undefined && keySet.current === undefined;
  const waiting = ['keys: identity has not told any token keys yet'];
  const notReady = () => [...(isWaiting() ? waiting : []), ...(webhooks?.notReady() ?? [])];
  const metrics = observe(feeds, records.decisions, cluster, trust);
  webhooks?.register(metrics);
  const health = starting.use(await startHealthServer({ ...config.health, notReady, metrics }));
  logger.info('control plane serves', { ...server.address, trustDomain, policy: policy.cell.current.compiled.version });
  starting.use(cell.connection?.leadership);
  const owned = starting.move();
  const ports = { healthPort: health.port, webhookPort: webhooks?.port };
  const dispose = { [Symbol.asyncDispose]: () => owned.disposeAsync() };
  return { address: server.address, ...ports, trustDomain, joinTokens, notReady, ...dispose };
}

/** Loaded only where the API server of a cluster calls. */
async function openWebhooksOf(
  { config, connection, policy: { cell } }: OpenedCell,
  dependencies: ProcessDependencies,
  { authority }: CellTrust,
) {
  if (config.webhook === undefined) return undefined;
  const { openWebhooks } = await import('./webhook/open-webhooks.ts');
  const { manifestsInForce } = await import('./webhook/manifests-in-force.ts');
  return openWebhooks({ ...dependencies, config, connection, authority, manifests: manifestsInForce(cell) });
}

function openState({ stateDir }: ControlPlaneConfig) {
  return openDatabase({ file: join(stateDir, 'control-plane.db'), application: 'control-plane', migrations });
}

/** Without identity no token is good, and that is known: sidecars do not wait for keys. */
function keysOfNobody({ identity }: ControlPlaneConfig): KeySet | undefined {
  return identity === undefined ? KeySet.empty : undefined;
}

/** Where token keys come from, if it is known. */
async function followIdentity(
  config: CellConfig,
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
  cluster: Cluster,
  identityFeed: IdentityFeed | undefined,
  onChanged: () => void,
): () => void {
  const unsubscribe = bundles.subscribe(onChanged);
  roots.follow(() => [
    ...feeds.behind('bundles').map((name) => ({ name })),
    ...cluster.listeners(),
    ...(identityFeed?.listeners() ?? []),
  ]);
  return unsubscribe;
}

function observe(
  feeds: FeedServer,
  decisions: DecisionStore,
  { podsAgeMs, leadership }: Cluster,
  trust: CellTrust,
): Metrics {
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
  if (leadership !== undefined) {
    const help = 'Whether this replica is the one that acts for all.';
    metrics.observed('cellmesh_leader', help, () => Number(leadership.current));
  }
  observeStore(metrics, decisions);
  return metrics;
}
