import { ApiClient } from '#api/api-client.ts';
import { readTextFile } from '#certs/private-file.ts';
import type { SpiffeId, TrustDomain } from '#certs/spiffe-id.ts';
import { bundlesOf, parseTrustBundle, trustDomainNamedBy } from '#certs/trust-bundle.ts';
import { systemClock } from '#runtime/clock.ts';
import type { Address } from '#runtime/config.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { WatchSource } from '#runtime/watch.ts';
import { type KubectlOptions, runKubectl } from './kubectl.ts';
import { startPortForward } from './port-forward.ts';

/** An authority as an installation has it: `app.kubernetes.io/component`, its port, and the ConfigMap with the roots that vouch for it. */
export interface ClusterAuthority {
  readonly component: 'control-plane' | 'identity';
  readonly port: number;
  readonly trustBundle: string;
  readonly expectIn: (trustDomain: TrustDomain) => SpiffeId;
}

interface ReachOptions extends KubectlOptions {
  /** Where it answers, when nobody has to forward. */
  readonly address?: Address;
  /** A file with a token of the user's own, made for the authority's SPIFFE ID. */
  readonly tokenFile?: string;
  /** Where its roots do not name it. */
  readonly trustDomain?: TrustDomain;
}

/** What is done with a client of each replica, and how each is called for people. */
export type UseReplicas<T> = (clients: readonly ApiClient[], names: readonly string[]) => Promise<T>;

/** Whom `kubectl create token` is asked for; a Role may allow that for this account alone. */
const operatorAccount = 'cellmesh-operator';
const tokenLifetime = '10m';
const bundleKey = 'trust-bundle.json';
const podsMax = 16;

/**
 * Clients of every ready replica of an authority in a cluster. They call by a token of the cluster, over connections whose other end has shown
 * the authority's exact SPIFFE ID: whoever is on the way, `kubectl` and the API server too, sees no token.
 * @param replicas `all` for what each replica has for itself
 * @throws CellmeshError `kubectl_failed`, `trust_bundle_invalid`, `not_found` when no pod is ready
 */
export async function atCluster<T>(
  authority: ClusterAuthority,
  options: ReachOptions,
  replicas: 'all' | 'one',
  use: UseReplicas<T>,
): Promise<T> {
  await using reached = new AsyncDisposableStack();
  const bundle = await trustBundle(authority, options);
  const expect = authority.expectIn(bundle.trustDomain);
  const token = await operatorToken(expect, options);
  const replicaNames: string[] = [];
  const addresses: Address[] = [];
  if (options.address !== undefined) {
    addresses.push(options.address);
    replicaNames.push('the control plane');
  } else {
    const pods = await readyPods(authority, options);
    for (const pod of replicas === 'all' ? pods : pods.slice(0, 1)) {
      addresses.push(reached.use(await startPortForward(options, pod, authority.port)).address);
      replicaNames.push(pod);
    }
  }
  const identity = new WatchSource({ bundles: bundlesOf(bundle) });
  const clients = addresses.map((at) =>
    reached.use(new ApiClient({ ...at, expect, identity, token, clock: systemClock })),
  );
  return await use(clients, replicaNames);
}

async function trustBundle({ trustBundle: name }: ClusterAuthority, options: ReachOptions) {
  const args = ['get', 'configmap', name, `--output=jsonpath={.data.${bundleKey.replace('.', '\\.')}}`];
  const text = await runKubectl(options, args);
  const trustDomain = text === '' ? undefined : (options.trustDomain ?? trustDomainNamedBy(text));
  if (trustDomain !== undefined) return parseTrustBundle(text, trustDomain);
  throw new CellmeshError(
    'trust_bundle_invalid',
    `the ConfigMap ${name} in ${options.namespace} has no ${bundleKey} whose roots name their trust domain; that of an authority of your own: --trust-domain, of identity --global-trust-domain`,
  );
}

async function operatorToken(audience: SpiffeId, { tokenFile, ...options }: ReachOptions): Promise<Secret<string>> {
  if (tokenFile !== undefined) return new Secret((await readTextFile(tokenFile)).trim());
  const args = ['create', 'token', operatorAccount, `--audience=${audience}`, `--duration=${tokenLifetime}`];
  return new Secret((await runKubectl(options, args)).trim());
}

async function readyPods({ component }: ClusterAuthority, options: KubectlOptions): Promise<string[]> {
  const selector = `app.kubernetes.io/name=cellmesh,app.kubernetes.io/component=${component}`;
  const isReady = '{.status.conditions[?(@.type=="Ready")].status}';
  const line = `{range .items[*]}{.metadata.name}{"\\t"}${isReady}{"\\t"}{.metadata.deletionTimestamp}{"\\n"}{end}`;
  const text = await runKubectl(options, ['get', 'pods', `--selector=${selector}`, `--output=jsonpath=${line}`]);
  const pods = readyPodsOf(text);
  if (pods.length > 0) return pods.slice(0, podsMax);
  throw new CellmeshError('not_found', `no pod of ${component} is ready in the namespace ${options.namespace}`);
}

/** @param text name, status of the condition Ready, and when it was deleted: a line for each pod, tabs between */
function readyPodsOf(text: string): string[] {
  const rows = text.split('\n').map((row) => row.split('\t'));
  return rows.flatMap(([name, ready, deleted]) => (name && ready === 'True' && !deleted ? [name] : []));
}
