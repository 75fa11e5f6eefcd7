import type { KubernetesClient, Selection } from '#kubernetes/client.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import type { Resource } from '#kubernetes/resources.ts';
import { configMaps } from '#kubernetes/resources-config-map.ts';
import { leases } from '#kubernetes/resources-lease.ts';
import { namespaces as namespaceObjects } from '#kubernetes/resources-namespace.ts';
import { cells, servicePolicies } from '#kubernetes/resources-policy.ts';
import { serverVersion } from '#kubernetes/server-version.ts';
import { readYaml } from '#runtime/yaml-document.ts';
import type { AuthorityFacts, ClusterFacts, MeshPod, WebhookFacts } from '../cluster-facts.ts';
import { type Fact, factOf } from '../facts.ts';
import { rootsOf } from './authorities.ts';
import {
  customResources,
  deployments,
  disruptionBudgets,
  leaseFactsOf,
  mutatingWebhooks,
  networkPolicies,
  optInLabel,
  pods,
  policyFactsOf,
  services,
  validatingWebhooks,
} from './cluster-objects.ts';
import { controlPlaneRights } from './control-plane-rights.ts';
import { tryInjection } from './trial-pod.ts';

const name = 'cellmesh-control-plane';
const bundleName = 'cellmesh-trust-bundle';
const bundleFile = 'trust-bundle.json';
const definitionNames = ['servicepolicies.cellmesh.io', 'cells.cellmesh.io'];

/** Asks the API server for everything that checks look at, side by side; changes nothing. */
export async function clusterFacts(
  client: KubernetesClient,
  namespace: string,
  signal: AbortSignal,
): Promise<ClusterFacts> {
  const fact = <T>(ask: () => Promise<T>) => factOf(ask, signal);
  const reader = new Reader(client, signal);
  const namespaces = await fact(async () => {
    const found = await reader.all(namespaceObjects, { labelSelector: `${optInLabel}=enabled` });
    return found.map((one) => one.name);
  });
  const inEach = <T>(ask: (namespace: string) => Promise<readonly T[]>) => eachOf(namespaces, ask, signal);
  const asked = {
    serverVersion: fact(async () => (await serverVersion(client, signal)).text),
    definitions: fact(() =>
      Promise.all(definitionNames.map(async (name) => ({ name, found: await reader.one(customResources, { name }) }))),
    ),
    deployment: fact(() => reader.one(deployments, { namespace, name })),
    hasDisruptionBudget: fact(async () => (await reader.one(disruptionBudgets, { namespace, name })) !== undefined),
    lease: fact(async () => {
      const found = await reader.one(leases, { namespace, name });
      return found && leaseFactsOf(found);
    }),
    rights: fact(() => controlPlaneRights(client, namespace, signal)),
    webhooks: fact(() => webhooksOf(reader)),
    trial: fact(async () => {
      if ('unknown' in namespaces) throw new Error(namespaces.unknown);
      const [first] = namespaces.value;
      return first === undefined ? undefined : await tryInjection(client, first, signal);
    }),
    pods: inEach<MeshPod>((namespace) => reader.all(pods, { namespace })),
    services: inEach((namespace) => reader.all(services, { namespace })),
    policyObjects: fact(async () => {
      const objects = [...(await reader.all(servicePolicies)), ...(await reader.all(cells))];
      return objects.map(policyFactsOf);
    }),
    bundles: fact(async () => {
      if ('unknown' in namespaces) throw new Error(namespaces.unknown);
      const all = [namespace, ...namespaces.value.filter((one) => one !== namespace)];
      return Promise.all(
        all.map(async (one) => ({ namespace: one, text: await reader.file(one, bundleName, bundleFile) })),
      );
    }),
    isolated: inEach(async (namespace) => {
      const found = await reader.all(networkPolicies, { namespace });
      return found.some(({ isAboutIngress }) => isAboutIngress) ? [namespace] : [];
    }),
    nodes: fact(async () => (await reader.all(leases, { namespace: 'kube-node-lease' })).map(leaseFactsOf)),
    sidecarImage: fact(async () => imageOf(await reader.file(namespace, name, 'injector.yaml'))),
  } satisfies Partial<{ readonly [K in keyof ClusterFacts]: Promise<ClusterFacts[K]> }>;
  const entries = await Promise.all(Object.entries(asked).map(async ([key, value]) => [key, await value] as const));
  const found = Object.fromEntries(entries) as Awaitedly<typeof asked>;
  return { namespace, namespaces, ...found, roots: await fact(async () => ownRoots(found.bundles)) };
}

/** @throws Error why there are none */
function ownRoots(bundles: ClusterFacts['bundles']): readonly AuthorityFacts[] {
  if ('unknown' in bundles) throw new Error(bundles.unknown);
  const [own] = bundles.value;
  if (own?.text === undefined) throw new Error(`there is no ConfigMap ${bundleName} in ${own?.namespace}`);
  return rootsOf(own.text);
}

type Awaitedly<T> = { readonly [K in keyof T]: Awaited<T[K]> };

class Reader {
  readonly #client: KubernetesClient;
  readonly #signal: AbortSignal;

  constructor(client: KubernetesClient, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  async all<T>(resource: Resource<T>, selection: Selection = {}): Promise<T[]> {
    const items: T[] = [];
    for await (const page of this.#client.list(resource, selection, this.#signal)) items.push(...page.items);
    return items;
  }

  /** Undefined when there is none. */
  async one<T>(resource: Resource<T>, name: { namespace?: string; name: string }): Promise<T | undefined> {
    try {
      return await this.#client.get(resource, name, this.#signal);
    } catch (error) {
      if (error instanceof KubernetesError && error.isNotFound) return undefined;
      throw error;
    }
  }

  async file(namespace: string, name: string, file: string): Promise<string | undefined> {
    return (await this.one(configMaps, { namespace, name }))?.data[file];
  }
}

function eachOf<T>(
  namespaces: Fact<readonly string[]>,
  ask: (namespace: string) => Promise<readonly T[]>,
  signal: AbortSignal,
): Promise<Fact<readonly T[]>> {
  return factOf(async () => {
    if ('unknown' in namespaces) throw new Error(namespaces.unknown);
    return (await Promise.all(namespaces.value.map(ask))).flat();
  }, signal);
}

async function webhooksOf(reader: Reader): Promise<readonly WebhookFacts[]> {
  const wanted = [
    [mutatingWebhooks, 'cellmesh-injector', 'inject.cellmesh.io'],
    [validatingWebhooks, 'cellmesh-policies', 'policies.cellmesh.io'],
  ] as const;
  return Promise.all(
    wanted.map(async ([resource, configuration, webhook]) => {
      const all = (await reader.one(resource, { name: configuration })) ?? [];
      return { configuration, found: all.find((one) => one.name === webhook) };
    }),
  );
}

function imageOf(settings: string | undefined): string | undefined {
  const [document] = settings === undefined ? [] : readYaml(settings, 'injector.yaml');
  const image = document?.kind === 'map' ? document.entries.get('image')?.value : undefined;
  return image?.kind === 'scalar' && typeof image.value === 'string' ? image.value : undefined;
}
