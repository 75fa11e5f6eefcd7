import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startApiServer } from '#api/api-server.ts';
import { rootsService } from '#api/roots-service.ts';
import { svidIssuerService } from '#api/svid-issuer-service.ts';
import { JoinTokens } from '#certs/join-token.ts';
import { joinTokenMigration, sqliteJoinTokenStore } from '#certs/join-token-store-sqlite.ts';
import { observeRoots } from '#certs/observe-roots.ts';
import { accountKeyMigration } from '#feeds/account-pseudonyms.ts';
import { type DecisionStore, decisionMigration } from '#feeds/decision-store.ts';
import { FeedServer } from '#feeds/feed-server.ts';
import { observeStore } from '#feeds/observe-decisions.ts';
import type { FeedType } from '#feeds/snapshot.ts';
import { StoredDecisions } from '#feeds/stored-decisions.ts';
import { joinedByTokenMigration } from '#kubernetes/joined-by-token.ts';
import { RefusalLog } from '#net/refusal-log.ts';
import { readStoredDecision } from '#policy/decision-record.ts';
import type { Clock } from '#runtime/clock.ts';
import { startHealthServer } from '#runtime/health-server.ts';
import { json } from '#runtime/local-server.ts';
import type { Logger } from '#runtime/logger.ts';
import { Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { serializeKeySet } from '#tokens/key-set.ts';
import { RateLimiter } from '#traffic/gcra.ts';
import { adminService } from './admin-service.ts';
import { cellsService } from './cells-service.ts';
import { openCluster } from './cluster.ts';
import { edgeService } from './edge-service.ts';
import { type GlobalTrust, openGlobalTrust } from './global-trust.ts';
import { IdentityPublisher } from './identity-publisher.ts';
import { IdentityStore, identityMigration } from './identity-store.ts';
import { KeyDigests } from './key-digest.ts';
import { openSigningKeys, openTagKey } from './own-keys.ts';
import { RouterKeys } from './router-keys.ts';
import type { IdentityConfig } from './settings.ts';

export interface ProcessDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface RunningIdentity extends AsyncDisposable {
  readonly address: { readonly host: string; readonly port: number };
  readonly healthPort: number;
  readonly joinTokens: JoinTokens;
}

/** In the order in which they were added. */
const migrations = [
  joinTokenMigration,
  decisionMigration,
  identityMigration,
  accountKeyMigration,
  joinedByTokenMigration,
];
const jwksPath = '/.well-known/jwks.json';

/**
 * Starts the global identity service: accounts, API keys, the map of accounts to cells, token keys, and the authority of the routers.
 * @throws CellmeshError with what is missing or taken
 */
export async function startIdentity(
  config: IdentityConfig,
  dependencies: ProcessDependencies,
): Promise<RunningIdentity> {
  const { clock, random, logger } = dependencies;
  const { stateDir, trustDomain, tokenIssuer } = config;
  await using starting = new AsyncDisposableStack();
  const abort = new AbortController();
  starting.defer(() => abort.abort(new Error('identity stops')));
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const database = openDatabase({ file: join(stateDir, 'identity.db'), application: 'identity', migrations });
  starting.defer(() => database.close());

  const store = new IdentityStore(database);
  const trust = await openGlobalTrust(config, store.cells(), dependencies, abort.signal);
  starting.defer(() => trust.close());
  const own = await openSigningKeys(stateDir, tokenIssuer);
  const routerKeys = new RouterKeys({ store, tokenIssuer, own: own.map(({ published }) => published), clock });
  const tagKey = await openTagKey(stateDir, random);
  const digests = new KeyDigests(clock, random);
  const joinTokens = new JoinTokens({ store: sqliteJoinTokenStore(database), clock, random });
  const { bundle } = trust.authority;
  const cluster = starting.use(await openCluster({ config, ...dependencies, database, joinTokens, bundle }));
  const decisions = starting.use(new StoredDecisions(database, { ...config, ...dependencies }, readStoredDecision));

  const publisher = new IdentityPublisher({ store, tagKey, keySet: routerKeys.keySet, ...trust, clock });
  const feeds = starting.use(new FeedServer({ publisher, clock, logger }));
  const changed = (...types: FeedType[]) => {
    if (types.includes('cells')) trust.setCells(store.cells());
    for (const type of types) publisher.revisions.revise(type);
    feeds.changed(...types);
  };
  starting.defer(routerKeys.keySet.subscribe(() => changed('keys')));
  starting.defer(trust.roots.bundle.subscribe(() => changed('bundles')));
  trust.roots.follow(() => feeds.behind('bundles').map((name) => ({ name })));

  const refusals = starting.use(new RefusalLog({ clock, logger }));
  const server = starting.use(
    await startApiServer({
      ...config.listen,
      identity: trust.identity,
      domains: { own: trustDomain, global: trustDomain },
      rateLimiter: new RateLimiter(clock),
      ...dependencies,
      onRefused: (refusal) => refusals.record(refusal),
      operators: cluster.operators,
      services: [
        svidIssuerService({ ...trust, logger, attestor: cluster.attestor }),
        rootsService(trust),
        feeds.service,
        decisions.service,
        adminService({ store, digests, tagKey, joinTokens, trustDomain, clock, random, changed }),
        cellsService({ store, changed }),
        edgeService({ store, digests, tagKey, attempts: new RateLimiter(clock), clock, routerKeys }),
      ],
    }),
  );
  const health = starting.use(
    await startHealthServer({
      ...config.health,
      notReady: () => [],
      metrics: observe(feeds, store, decisions.store, trust),
      routes: (path) => (path === jwksPath ? jwksOf(routerKeys) : undefined),
    }),
  );
  logger.info('identity serves', { ...server.address, trustDomain, cells: store.cells().size });
  const owned = starting.move();
  return {
    address: server.address,
    healthPort: health.port,
    joinTokens,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function jwksOf({ keySet }: RouterKeys) {
  return json(200, JSON.parse(serializeKeySet(keySet.current)));
}

function observe(feeds: FeedServer, store: IdentityStore, decisions: DecisionStore, trust: GlobalTrust): Metrics {
  const metrics = new Metrics();
  observeRoots(metrics, trust);
  observeStore(metrics, decisions);
  metrics.observed(
    'cellmesh_feed_subscribers',
    'Routers and control planes that are connected.',
    () => feeds.subscribers().length,
  );
  metrics.observed('cellmesh_accounts', 'Accounts.', () => store.accountMap().size);
  return metrics;
}
