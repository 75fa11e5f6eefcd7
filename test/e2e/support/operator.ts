import { ApiClient } from '#api/api-client.ts';
import { ControlPlane } from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { bundlesOf, parseTrustBundle } from '#certs/trust-bundle.ts';
import { KubernetesClient } from '#kubernetes/client.ts';
import { readClusterAccess } from '#kubernetes/cluster-access.ts';
import { servicePolicies } from '#kubernetes/resources-policy.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { Secret } from '#runtime/secret.ts';
import { WatchSource } from '#runtime/watch.ts';
import { startPortForward } from '../../../src/cli/kube/port-forward.ts';
import type { Cluster } from './cluster.ts';
import type { Mesh } from './mesh.ts';

/** What an operator does over and over, without a program for each: measured is the mesh, and not the start of `kubectl`. */
interface Operator extends AsyncDisposable {
  /** Resolves with the API server's answer: the object is accepted. */
  applyPolicy(name: { readonly namespace: string; readonly name: string }, spec: object): Promise<void>;
  /** Revisions of a feed that the sidecars of a service have acknowledged, one for each; `service`: the end of its SPIFFE ID. */
  acknowledged(feed: string, service: string): Promise<number[]>;
}

export async function openOperator({ kubectl, kubeconfig }: Cluster, mesh: Mesh): Promise<Operator> {
  await using opening = new AsyncDisposableStack();
  const access = await readClusterAccess(kubeconfig, process.env);
  const kubernetes = opening.use(await KubernetesClient.open({ access, clock: systemClock, random: systemRandom }));
  const client = opening.use(await controlPlaneClient());
  const owned = opening.move();

  async function controlPlaneClient(): Promise<ApiClient> {
    const trustDomain = parseTrustDomain(mesh.trustDomain);
    const expect = controlPlaneId(trustDomain);
    const inNamespace = (...args: readonly string[]) => kubectl(['-n', mesh.namespace, ...args]);
    const path = 'jsonpath={.data.trust-bundle\\.json}';
    const bundle = parseTrustBundle(
      await inNamespace('get', 'configmap/cellmesh-trust-bundle', '-o', path),
      trustDomain,
    );
    const token = await inNamespace('create', 'token', 'cellmesh-operator', `--audience=${expect}`);
    const named = 'jsonpath={.items[0].metadata.name}';
    const pod = await inNamespace('get', 'pods', '-l', 'app.kubernetes.io/component=control-plane', '-o', named);
    const { address } = opening.use(await startPortForward({ namespace: mesh.namespace }, pod, 14010));
    return new ApiClient({
      ...{ ...address, expect, clock: systemClock, token: new Secret(token.trim()) },
      identity: new WatchSource({ bundles: bundlesOf(bundle) }),
    });
  }

  return {
    async applyPolicy(name, spec) {
      await kubernetes.apply(servicePolicies, name, { spec }, { fieldManager: 'e2e', force: true });
    },
    async acknowledged(feed, service) {
      const { subscribers } = await client.call(ControlPlane.method.getStatus, {});
      return subscribers
        .filter(({ spiffeId }) => spiffeId.endsWith(service))
        .map(({ types }) => Number(types.find(({ type }) => type === feed)?.revisionAcked ?? 0));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
