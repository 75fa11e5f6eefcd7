import { recoverRoot } from '#certs/recover-root.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { SecretRootStore } from '#control-plane/roots/root-store-secret.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { pods } from '#kubernetes/resources.ts';
import { foregroundClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { connect } from '../install/connect.ts';
import type { ClusterOptions } from '../operator.ts';
import { type OutputOptions, print } from '../output.ts';

interface RecoverInClusterOptions extends ClusterOptions, OutputOptions {
  readonly trustDomain?: string;
}

/**
 * A new root in the Secret of a control plane whose root has ended, with the rights of whoever runs this: `get` and `update` of that Secret, and to
 * be told which pods to restart, `list` of pods.
 * @throws CellmeshError as `recoverRoot`, and `kubernetes_refused`
 */
export async function recoverInCluster(options: RecoverInClusterOptions): Promise<void> {
  const { kubeconfig, context, namespace = 'cellmesh' } = options;
  await using client = await connect({
    ...(kubeconfig !== undefined && { kubeconfig }),
    ...(context !== undefined && { context }),
  });
  const expected = options.trustDomain === undefined ? {} : { trustDomain: parseTrustDomain(options.trustDomain) };
  const store = new SecretRootStore({ client, namespace, ...expected });
  // Asked first: what has been recovered is to be told.
  const mustRestart = await podsWithSidecars(client);
  const { trustDomain, former, root } = await recoverRoot({ store, clock: foregroundClock, random: systemRandom });
  const next = [
    `kubectl -n ${namespace} rollout restart deployment/cellmesh-control-plane`,
    `kubectl -n ${namespace} rollout status deployment/cellmesh-control-plane`,
  ];
  const report = {
    trustDomain,
    ended: new Date(former.notAfter).toISOString(),
    endedSerial: former.serial,
    serial: root.serial,
    notAfter: new Date(root.notAfter).toISOString(),
    next,
    mustRestart,
  };
  const forPeople = () =>
    [
      `The root of ${trustDomain} (${former.serial.slice(0, 16)}) ended ${report.ended}, and with it every SVID below it. A new one (${root.serial.slice(0, 16)}) signs until ${report.notAfter}.`,
      '1. Restart the control plane:',
      ...next.map((command) => `  ${command}`),
      ...restarts(mustRestart),
      '3. Tell identity, and by it the routers, where the cell has customers:',
      `  kubectl -n ${namespace} get configmap cellmesh-trust-bundle -o jsonpath='{.data.trust-bundle\\.json}' > cell.json`,
      `  cellmesh cells register <cell> --kube --trust-domain ${trustDomain} --trust-bundle cell.json --control-plane <host:port>`,
      `4. Whoever joined by a join token needs the new bundle (cell.json) and a new one: cellmesh join-token create <SPIFFE ID> --namespace ${namespace}`,
    ].join('\n');
  print(report, forPeople, options);
}

function restarts(mustRestart: readonly string[] | undefined): string[] {
  const how = '`kubectl -n <namespace> rollout restart`, or delete them one by one';
  if (mustRestart === undefined)
    return [`2. Then restart every pod with a container cellmesh-sidecar (you may not list them): ${how}.`];
  if (mustRestart.length === 0) return ['2. No pod has a sidecar that would have to be restarted.'];
  return [`2. Then restart the pods with sidecars (${how}):`, ...mustRestart.map((pod) => `  ${pod}`)];
}

/** As `namespace/name`, in order; undefined for somebody who may not know. */
async function podsWithSidecars(client: KubernetesClient): Promise<string[] | undefined> {
  const names: string[] = [];
  try {
    for await (const { items } of client.list(pods)) {
      for (const { namespace, name, sidecarPort, hasEnded } of items)
        if (sidecarPort !== undefined && !hasEnded) names.push(`${namespace}/${name}`);
    }
  } catch (error) {
    if (error instanceof KubernetesError && error.status === 403) return undefined;
    throw error;
  }
  return names.sort();
}
