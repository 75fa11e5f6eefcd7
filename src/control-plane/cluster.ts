import type { DatabaseSync } from 'node:sqlite';
import type { OperatorAuthenticator } from '#api/operator-token.ts';
import type { Attestor } from '#api/svid-issuer-service.ts';
import type { Authority } from '#certs/authority.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import type { JoinTokenStore } from '#certs/join-token-store.ts';
import { sqliteJoinTokenStore } from '#certs/join-token-store-sqlite.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import type { Listener } from '#certs/root-rotation.ts';
import { type SpiffeId, type TrustDomain, workloadId, workloadOf } from '#certs/spiffe-id.ts';
import type { FeedServer } from '#feeds/feed-server.ts';
import type { FeedType } from '#feeds/snapshot.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { evidenceAttestor } from '#kubernetes/evidence-attestor.ts';
import { type JoinedByToken, joinedByTokenInDatabase } from '#kubernetes/joined-by-token.ts';
import type { AttestedIds, ServiceAccountAttestor } from '#kubernetes/service-account-attestor.ts';
import type { Endpoint } from '#net/endpoints.ts';
import type { Watch } from '#runtime/watch.ts';
import type { CellPublisher } from './cell-publisher.ts';
import type { ClusterConnection } from './controller/cluster-connection.ts';
import type { ClusterPods } from './controller/cluster-pods.ts';
import type { Outcomes } from './controller/cluster-policy-source.ts';
import type { Registrations } from './registrations.ts';
import type { Rollouts, Withdrawal } from './rollouts.ts';
import type { ControlPlaneConfig } from './settings.ts';
import type { ProcessDependencies } from './start-control-plane.ts';

interface ClusterOptions extends ProcessDependencies {
  readonly config: Pick<ControlPlaneConfig, 'attestAudience' | 'attestAddresses'>;
  /** Undefined without a cluster. */
  readonly connection: ClusterConnection | undefined;
  /** What became of the objects of the cluster; undefined where the cell comes from a directory. */
  readonly outcomes: Watch<Outcomes> | undefined;
  readonly database: DatabaseSync;
  readonly joinTokens: JoinTokens;
  readonly registrations: Registrations;
  readonly trustDomain: TrustDomain;
  readonly authority: Authority;
  readonly feeds: FeedServer;
  readonly rollouts: Rollouts;
  readonly publisher: CellPublisher;
  /** What is handed out of a type is another thing. */
  readonly changed: (type: FeedType) => void;
}

/** What a control plane knows of the cluster it belongs to, if there is one. */
export interface Cluster extends AsyncDisposable {
  /** Which evidence it takes: join tokens, and with a cluster tokens of service accounts too. */
  readonly attestor: Attestor;
  /** Operators who show a token of the cluster. */
  readonly operators?: OperatorAuthenticator;
  /** Of what has registered, and of what the cluster knows, where callers may be sent; undefined while that is not known. */
  endpointsOf(service: SpiffeId, registered: readonly Endpoint[]): readonly Endpoint[] | undefined;
  /** In which zone what has this address is, where the cluster knows. */
  zoneAt(address: string): string | undefined;
  /** Sidecars have come, gone or answered. */
  readonly onProgress?: () => void;
  /** This control plane has withdrawn a candidate: its sidecars are to know, and its other replicas. */
  onWithdrawn(withdrawal: Withdrawal): void;
  /** Who of the other replicas, and of those that they feed, has not taken the bundle that is in force here. */
  listeners(): readonly Listener[];
  /** How long the API server has said nothing of pods; undefined without one. */
  readonly podsAgeMs?: () => number;
  /** Whether this replica acts for all. */
  readonly leadership?: Watch<boolean>;
}

/** Without a cluster: join tokens alone, and what has registered counts as it is. */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const { connection } = options;
  const joined = await joinedByToken(options);
  const lasts = (id: SpiffeId) => workloadOf(id) !== undefined;
  if (connection === undefined) {
    const attestor = evidenceAttestor({ ...options, joined, lasts });
    const endpointsOf = (_: SpiffeId, registered: readonly Endpoint[]) => registered;
    const onWithdrawn = () => options.changed('policy');
    const alone = { listeners: () => [], zoneAt: () => undefined };
    return { attestor, endpointsOf, onWithdrawn, ...alone, async [Symbol.asyncDispose]() {} };
  }
  await using opening = new AsyncDisposableStack();
  const { client } = connection;
  const serviceAccounts = await workloadAttestor(options, client);
  const attestor = evidenceAttestor({ ...options, joined, serviceAccounts, lasts });
  const operators = await kubernetesOperators(options, client);
  const { ClusterController } = await import('./controller/cluster-controller.ts');
  const pods = opening.use(await followPods(options, client, () => controller.onPods()));
  const controller = opening.use(new ClusterController({ ...options, connection, pods }));
  const owned = opening.move();
  return {
    attestor,
    operators,
    endpointsOf: (service, registered) => pods.endpointsOf(service, registered),
    zoneAt: (address) => pods.zoneAt(address),
    onProgress: () => controller.onProgress(),
    onWithdrawn(withdrawal) {
      options.changed('policy');
      controller.onWithdrawn(withdrawal);
    },
    listeners: () => controller.listeners(options.authority.bundle.current),
    podsAgeMs: () => pods.ageMs(),
    leadership: connection.leadership,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Where join tokens are kept: in the cluster, so that a token works at each replica, and once. */
export async function joinTokenStore(
  database: DatabaseSync,
  connection: ClusterConnection | undefined,
): Promise<JoinTokenStore> {
  if (connection === undefined) return sqliteJoinTokenStore(database);
  return (await import('./controller/join-token-store-cluster.ts')).clusterJoinTokenStore(connection);
}

async function joinedByToken({ database, connection }: ClusterOptions): Promise<JoinedByToken> {
  if (connection === undefined) return joinedByTokenInDatabase(database);
  return (await import('./controller/joined-by-token-cluster.ts')).clusterJoinedByToken(connection);
}

async function workloadAttestor(
  { config, trustDomain, logger }: ClusterOptions,
  client: KubernetesClient,
): Promise<ServiceAccountAttestor> {
  const { ServiceAccountAttestor } = await import('#kubernetes/service-account-attestor.ts');
  const { attestAudience: audience = controlPlaneId(trustDomain), attestAddresses: comparesAddresses } = config;
  const ids: AttestedIds = {
    isMeant: () => true,
    idOf: ({ namespace, name }) => workloadId(trustDomain, namespace, name),
  };
  return new ServiceAccountAttestor({ client, ids, audience, comparesAddresses, logger });
}

async function kubernetesOperators(
  { trustDomain, clock, logger }: ClusterOptions,
  client: KubernetesClient,
): Promise<OperatorAuthenticator> {
  const { KubernetesOperators } = await import('#kubernetes/operators.ts');
  return new KubernetesOperators({ client, audience: controlPlaneId(trustDomain), clock, logger });
}

async function followPods(
  { registrations, feeds, publisher, changed, ...options }: ClusterOptions,
  client: KubernetesClient,
  onCounted: () => void,
): Promise<ClusterPods> {
  const { ClusterPods } = await import('./controller/cluster-pods.ts');
  return new ClusterPods({
    ...options,
    client,
    onChanged(what) {
      if ('service' in what) publisher.pushEndpoints(feeds, what.service);
      else if (registrations.hasHost(what.address)) changed('endpoints');
    },
    onCounted,
    onListed: () => changed('endpoints'),
  });
}
