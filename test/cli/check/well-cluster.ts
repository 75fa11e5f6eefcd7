import type { ClusterFacts, MeshPod } from '#cli/check/cluster-facts.ts';
import type { Facts } from '#cli/check/facts.ts';
import { manifestSchema } from '#policy/manifest-schema.ts';
import { dayMs, nowMs, wellOnMachine } from './well-facts.ts';

const root = { der: 'AAAA', notBefore: nowMs - dayMs, notAfter: nowMs + 3650 * dayMs };
const image = 'registry.example/cellmesh:1.4.0';

function definition(name: string, kind: string) {
  const schema = manifestSchema().oneOf!.find(({ title }) => title === kind)!;
  const specFields = Object.keys(schema.properties!['spec']!.properties!);
  return { name, found: { isEstablished: true, served: ['v1alpha1'], specFields } };
}

export const goodPod: MeshPod = {
  namespace: 'shop',
  name: 'web-1',
  serviceAccount: 'web',
  hasEnded: false,
  isHostNetwork: false,
  isOptedOut: false,
  allowsDefaultServiceAccount: false,
  allowsHostNetwork: false,
  sidecarImage: image,
  wantsTransparent: false,
  interception: 'missing',
  excludedInboundPorts: [],
  labels: { app: 'web' },
  portsByName: { http: 8080 },
};

export const goodWebhook = { failurePolicy: 'Fail', authorities: [root], optInLabel: 'enabled', timeoutSeconds: 5 };

export const goodCluster: ClusterFacts = {
  namespace: 'cellmesh',
  serverVersion: { value: 'v1.29.0' },
  definitions: {
    value: [definition('servicepolicies.cellmesh.io', 'ServicePolicy'), definition('cells.cellmesh.io', 'Cell')],
  },
  deployment: { value: { wanted: 2, ready: 2 } },
  hasDisruptionBudget: { value: true },
  lease: { value: { holder: 'pod-1', renewedMs: nowMs - 2_000, durationMs: 15_000 } },
  rights: { value: [{ what: 'get pods', isAllowed: true }] },
  webhooks: {
    value: [
      { configuration: 'cellmesh-injector', found: goodWebhook },
      { configuration: 'cellmesh-policies', found: { ...goodWebhook, optInLabel: undefined } },
    ],
  },
  trial: { value: { namespace: 'shop', outcome: 'injected' } },
  namespaces: { value: ['shop'] },
  pods: { value: [goodPod] },
  services: { value: [{ namespace: 'shop', name: 'web', selector: { app: 'web' }, targetPorts: [14_006] }] },
  policyObjects: {
    value: [
      {
        name: 'ServicePolicy shop/web',
        namespace: 'shop',
        serviceAccount: 'web',
        text: '{}',
        accepted: { isAccepted: true, isWhole: true, message: '' },
        programmed: { isProgrammed: true, message: '', sinceMs: nowMs - dayMs },
      },
    ],
  },
  bundles: {
    value: [
      { namespace: 'cellmesh', text: 'bundle' },
      { namespace: 'shop', text: 'bundle' },
    ],
  },
  roots: { value: [root] },
  isolated: { value: ['shop'] },
  nodes: { value: [{ name: 'node-1', renewedMs: nowMs - 5_000 }] },
  sidecarImage: { value: image },
};

const { machine: _, certificates, ...common } = wellOnMachine;

/** A cell in a cluster with which everything is well. */
export const wellInCluster: Facts = {
  ...common,
  certificates: [
    ...certificates.filter(({ kinds }) => kinds.includes('root')),
    { of: 'cellmesh-injector', kinds: ['webhook'], found: { value: [{ kind: 'webhook', ...root }] } },
  ],
  cluster: goodCluster,
};
