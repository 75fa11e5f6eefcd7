import type { DatabaseSync } from 'node:sqlite';
import { type Attestor, joinTokenAttestor } from '#api/svid-issuer-service.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { type SpiffeId, type TrustDomain, workloadOf } from '#certs/spiffe-id.ts';
import type { Watch } from '#runtime/watch.ts';
import type { ClusterConnection } from './controller/cluster-connection.ts';
import type { KubernetesClient } from './kubernetes/client.ts';
import type { ControlPlaneConfig } from './settings.ts';
import type { ProcessDependencies } from './start-control-plane.ts';

/** Who has joined by a token, which is good once: whoever has not must show evidence at each renewal. */
export const joinedByTokenMigration = `
CREATE TABLE joined_by_token (
  id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;`;

interface ClusterOptions extends ProcessDependencies {
  readonly config: Pick<ControlPlaneConfig, 'attestAudience' | 'attestAddresses'>;
  /** Undefined without a cluster. */
  readonly connection: ClusterConnection | undefined;
  readonly database: DatabaseSync;
  readonly joinTokens: JoinTokens;
  readonly trustDomain: TrustDomain;
  /** What `isReady` says of an address has changed. */
  readonly onReadinessChanged: (address: string) => void;
}

/** What a control plane knows of the cluster it belongs to, if there is one. */
export interface Cluster extends AsyncDisposable {
  /** Which evidence it takes: join tokens, and with a cluster tokens of service accounts too. */
  readonly attestor: Attestor;
  /** Whether callers may be sent to an address: not while it is known to be of pods that are not ready. */
  isReady(address: string): boolean;
  /** How long the API server has said nothing of pods; undefined without one. */
  readonly podsAgeMs?: () => number;
  /** Whether this replica acts for all. */
  readonly leadership?: Watch<boolean>;
}

/** The server says something every two minutes. What is older than this keeps nobody from getting requests. */
const readinessMsMax = 5 * 60_000;

/** Without a cluster: join tokens alone, and every address is ready. */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const { database, joinTokens, connection } = options;
  const remember = database.prepare('INSERT OR IGNORE INTO joined_by_token (id) VALUES (?)');
  const byJoinToken = joinTokenAttestor(joinTokens);
  const attest: Attestor['attest'] = async (evidence, peerAddress) => {
    const id = await byJoinToken.attest(evidence, peerAddress);
    remember.run(id);
    return id;
  };
  if (connection === undefined) {
    return { attestor: { ...byJoinToken, attest }, isReady: () => true, async [Symbol.asyncDispose]() {} };
  }
  await using opening = new AsyncDisposableStack();
  const { client, leadership } = connection;
  const attestor = await kubernetesAttestor(options, client, attest);
  const readiness = opening.use(await followPods(options, client));
  const owned = opening.move();
  return { attestor, ...readiness, leadership, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function kubernetesAttestor(
  { config, database, trustDomain, logger }: ClusterOptions,
  client: KubernetesClient,
  attestByJoinToken: Attestor['attest'],
): Promise<Attestor> {
  const { AttestationRejected, ServiceAccountAttestor } = await import('./kubernetes/service-account-attestor.ts');
  const { attestAudience: audience = controlPlaneId(trustDomain), attestAddresses: comparesAddresses } = config;
  const pods = new ServiceAccountAttestor({ client, trustDomain, audience, comparesAddresses, logger });
  const hasJoined = database.prepare('SELECT 1 FROM joined_by_token WHERE id = ?');
  const refuse = (reason: 'evidence_missing' | 'workload_differs', id: SpiffeId, address: string) => {
    logger.warn('attestation refused', { reason, spiffeId: id, address });
    return new AttestationRejected(reason);
  };
  return {
    attest: (evidence, peerAddress) =>
      evidence.case === 'serviceAccountToken'
        ? pods.attest(evidence.value, peerAddress)
        : attestByJoinToken(evidence, peerAddress),
    async attestRenewal(id, evidence, peerAddress) {
      if (evidence !== undefined) {
        if ((await pods.attest(evidence.value, peerAddress)) !== id) throw refuse('workload_differs', id, peerAddress);
      } else if (workloadOf(id) !== undefined && hasJoined.get(id) === undefined) {
        throw refuse('evidence_missing', id, peerAddress);
      }
    },
  };
}

async function followPods(
  { clock, random, logger, onReadinessChanged }: ClusterOptions,
  client: KubernetesClient,
): Promise<AsyncDisposable & { isReady(address: string): boolean; podsAgeMs(): number }> {
  const { Informer } = await import('./kubernetes/informer.ts');
  const { PodReadiness } = await import('./kubernetes/pod-readiness.ts');
  const { pods } = await import('./kubernetes/resources.ts');
  const readiness = new PodReadiness(onReadinessChanged);
  const informer = new Informer({
    client,
    resource: pods,
    selection: { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' },
    keyOf: ({ namespace, name }) => `${namespace}/${name}`,
    onChange: (now, before) => readiness.update(now, before),
    clock,
    random,
    logger,
  });
  return {
    isReady: (address) => informer.ageMs > readinessMsMax || readiness.isReady(address),
    podsAgeMs: () => informer.ageMs,
    [Symbol.asyncDispose]: () => informer[Symbol.asyncDispose](),
  };
}
