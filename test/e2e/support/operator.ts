import { ApiClient } from '#api/api-client.ts';
import { ControlPlane } from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { bundlesOf, parseTrustBundle } from '#certs/trust-bundle.ts';
import { KubernetesClient } from '#kubernetes/client.ts';
import { readClusterAccess } from '#kubernetes/cluster-access.ts';
import { listAt, textAt } from '#kubernetes/json.ts';
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
  /** Sends a pod through all of admission, and keeps nothing (`dryRun`). Resolves with its init containers. @throws KubernetesError when it is refused */
  tryPod(namespace: string): Promise<string>;
}

/** One who asks the control plane too. */
interface ControlPlaneOperator extends AsyncDisposable {
  /** Revisions of a feed that the sidecars of a service have acknowledged, by instance; `service`: the end of its SPIFFE ID. */
  acknowledged(feed: string, service: string): Promise<ReadonlyMap<string, number>>;
}

const securityContext = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };
const trialPod = {
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'trial-' } },
  spec: {
    serviceAccountName: 'caller',
    securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [{ name: 'app', image: 'none.invalid/none', securityContext }],
  },
};

export async function openOperator({ kubeconfig }: Cluster): Promise<Operator> {
  const access = await readClusterAccess(kubeconfig, process.env);
  const client = await KubernetesClient.open({ access, clock: systemClock, random: systemRandom });
  const body = { type: 'application/json', text: JSON.stringify(trialPod) };
  return {
    async applyPolicy(name, spec) {
      await client.apply(servicePolicies, name, { spec }, { fieldManager: 'e2e', force: true });
    },
    async tryPod(namespace) {
      const path = `/api/v1/namespaces/${namespace}/pods`;
      const pod = await client.ask({ method: 'POST', path, query: { dryRun: 'All' }, body, isRepeatable: false });
      return listAt(pod, 'spec', 'initContainers')
        .map((container) => textAt(container, 'name'))
        .join(' ');
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}

/** Every replica is asked: each knows its own sidecars. */
export async function openControlPlane({ kubectl }: Cluster, mesh: Mesh): Promise<ControlPlaneOperator> {
  await using opening = new AsyncDisposableStack();
  const trustDomain = parseTrustDomain(mesh.trustDomain);
  const expect = controlPlaneId(trustDomain);
  const inNamespace = (...args: readonly string[]) => kubectl(['-n', mesh.namespace, ...args]);
  const path = 'jsonpath={.data.trust-bundle\\.json}';
  const bundle = parseTrustBundle(await inNamespace('get', 'configmap/cellmesh-trust-bundle', '-o', path), trustDomain);
  const token = new Secret((await inNamespace('create', 'token', 'cellmesh-operator', `--audience=${expect}`)).trim());
  const label = 'app.kubernetes.io/component=control-plane';
  const names = await inNamespace('get', 'pods', '-l', label, '-o', 'jsonpath={.items[*].metadata.name}');
  const identity = new WatchSource({ bundles: bundlesOf(bundle) });
  const clients: ApiClient[] = [];
  for (const pod of names.split(' ')) {
    const { address } = opening.use(await startPortForward({ namespace: mesh.namespace }, pod, 14010));
    clients.push(opening.use(new ApiClient({ ...address, expect, clock: systemClock, token, identity })));
  }
  const owned = opening.move();
  return {
    async acknowledged(feed, service) {
      const answers = await Promise.all(clients.map((client) => client.call(ControlPlane.method.getStatus, {})));
      const subscribers = answers.flatMap((answer) => answer.subscribers);
      const ofService = subscribers.filter(({ spiffeId }) => spiffeId.endsWith(service));
      const acked = (types: (typeof subscribers)[number]['types']) => types.find(({ type }) => type === feed);
      return new Map(ofService.map(({ instance, types }) => [instance, Number(acked(types)?.revisionAcked ?? 0)]));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
