import type { DatabaseSync } from 'node:sqlite';
import type { OperatorAuthenticator } from '#api/operator-token.ts';
import type { Attestor } from '#api/svid-issuer-service.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import { identityId, isRouterId, routerId } from '#certs/reserved-ids.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { TrustBundle } from '#certs/trust-bundle.ts';
import { evidenceAttestor } from '#kubernetes/evidence-attestor.ts';
import { joinedByTokenInDatabase } from '#kubernetes/joined-by-token.ts';
import { ownNamespace } from '#kubernetes/own-namespace.ts';
import type { AttestedIds } from '#kubernetes/service-account-attestor.ts';
import type { Watch } from '#runtime/watch.ts';
import type { IdentityConfig } from './settings.ts';
import type { ProcessDependencies } from './start-identity.ts';

interface ClusterOptions extends ProcessDependencies {
  readonly config: IdentityConfig;
  readonly database: DatabaseSync;
  readonly joinTokens: JoinTokens;
  readonly bundle: Watch<TrustBundle>;
}

/** What identity knows of the cluster it belongs to, if there is one. */
interface Cluster extends AsyncDisposable {
  /** Which evidence routers may show. */
  readonly attestor: Attestor;
  /** Operators who show a token of the cluster. */
  readonly operators?: OperatorAuthenticator;
}

const bundleName = 'cellmesh-global-trust-bundle';
const namespaceDefault = 'cellmesh-global';
const fieldManager = 'cellmesh-identity';

/**
 * Without `--kubernetes`: join tokens alone. With it routers are known by their pods, operators by their tokens, and the roots of the global
 * trust domain lie in a ConfigMap. Nothing is asked of the API server before this resolves.
 * @throws CellmeshError `config_invalid`, `document_invalid`, `file_unreadable` for a kubeconfig that cannot be used
 */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const { config, bundle, clock, random, logger } = options;
  const { trustDomain, region, attestAddresses: comparesAddresses } = config;
  const joined = joinedByTokenInDatabase(options.database);
  const lasts = (id: SpiffeId) => isRouterId(trustDomain, id);
  if (config.kubernetes === undefined) {
    return { attestor: evidenceAttestor({ ...options, joined, lasts }), async [Symbol.asyncDispose]() {} };
  }
  const { readClusterAccess } = await import('#kubernetes/cluster-access.ts');
  const { KubernetesClient } = await import('#kubernetes/client.ts');
  const { KubernetesOperators } = await import('#kubernetes/operators.ts');
  const { ServiceAccountAttestor } = await import('#kubernetes/service-account-attestor.ts');
  const { BundleConfigMap } = await import('#kubernetes/bundle-config-map.ts');
  const access = await readClusterAccess(config.kubernetes, process.env);
  await using opening = new AsyncDisposableStack();
  const client = opening.use(await KubernetesClient.open({ access, clock, random }));
  const audience = identityId(trustDomain, region);
  const ids = routerIds(config);
  const serviceAccounts = new ServiceAccountAttestor({ client, ids, audience, comparesAddresses, logger });
  const namespace = config.namespace ?? (await ownNamespace(namespaceDefault));
  opening.use(new BundleConfigMap({ client, namespace, name: bundleName, fieldManager, bundle, clock, logger }));
  const owned = opening.move();
  return {
    attestor: evidenceAttestor({ ...options, joined, serviceAccounts, lasts }),
    operators: new KubernetesOperators({ client, audience, clock, logger }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A router is its pod, and nobody else's pod is one. */
function routerIds({ trustDomain, region, routerServiceAccount }: IdentityConfig): AttestedIds {
  return {
    isMeant: ({ namespace, name }) => `${namespace}/${name}` === routerServiceAccount,
    idOf: (_, pod) => routerId(trustDomain, region, pod),
  };
}
