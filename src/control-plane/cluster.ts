import type { DatabaseSync } from 'node:sqlite';
import type { OperatorAuthenticator } from '#api/operator-token.ts';
import type { Attestor } from '#api/svid-issuer-service.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { type SpiffeId, type TrustDomain, workloadId, workloadOf } from '#certs/spiffe-id.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { evidenceAttestor } from '#kubernetes/evidence-attestor.ts';
import type { AttestedIds, ServiceAccountAttestor } from '#kubernetes/service-account-attestor.ts';
import type { ControlPlaneConfig } from './settings.ts';
import type { ProcessDependencies } from './start-control-plane.ts';

interface ClusterOptions extends ProcessDependencies {
  readonly config: ControlPlaneConfig;
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
  /** Operators who show a token of the cluster. */
  readonly operators?: OperatorAuthenticator;
  /** Whether callers may be sent to an address: not while it is known to be of pods that are not ready. */
  isReady(address: string): boolean;
  /** How long the API server has said nothing of pods; undefined without one. */
  readonly podsAgeMs?: () => number;
  /** Of its API server; undefined without one. */
  readonly client?: KubernetesClient;
}

/** The server says something every two minutes. What is older than this keeps nobody from getting requests. */
const readinessMsMax = 5 * 60_000;

/**
 * Without `--kubernetes`: join tokens alone, and every address is ready. Nothing is asked of the API server before this resolves.
 * @throws CellmeshError `config_invalid`, `document_invalid`, `file_unreadable` for a kubeconfig that cannot be used
 */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const { config, clock, random } = options;
  const lasts = (id: SpiffeId) => workloadOf(id) !== undefined;
  if (config.kubernetes === undefined) {
    return {
      attestor: evidenceAttestor({ ...options, lasts }),
      isReady: () => true,
      async [Symbol.asyncDispose]() {},
    };
  }
  const { readClusterAccess } = await import('#kubernetes/cluster-access.ts');
  const { KubernetesClient } = await import('#kubernetes/client.ts');
  const access = await readClusterAccess(config.kubernetes, process.env);
  await using opening = new AsyncDisposableStack();
  const client = opening.use(await KubernetesClient.open({ access, clock, random }));
  const serviceAccounts = await workloadAttestor(options, client);
  const attestor = evidenceAttestor({ ...options, serviceAccounts, lasts });
  const operators = await kubernetesOperators(options, client);
  const readiness = opening.use(await followPods(options, client));
  const owned = opening.move();
  return { attestor, operators, client, ...readiness, [Symbol.asyncDispose]: () => owned.disposeAsync() };
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
  { clock, random, logger, onReadinessChanged }: ClusterOptions,
  client: KubernetesClient,
): Promise<AsyncDisposable & { isReady(address: string): boolean; podsAgeMs(): number }> {
  const { Informer } = await import('#kubernetes/informer.ts');
  const { PodReadiness } = await import('#kubernetes/pod-readiness.ts');
  const { pods } = await import('#kubernetes/resources.ts');
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
