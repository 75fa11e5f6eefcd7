import { type Component, own, type Release, selectorOf } from './pod-parts.ts';
import { Extended, type Tree } from './tree.ts';

interface Opening {
  readonly port: number;
  /** Absent: from anywhere. */
  readonly from?: Tree;
}

const optedIn = { namespaceSelector: { matchLabels: { 'cellmesh.io/inject': 'enabled' } } };
const inAnyNamespace = (component: Component) => ({
  namespaceSelector: {},
  podSelector: { matchLabels: selectorOf(component) },
});

/** The API server is no pod, and its address is not known in every cluster: the webhook's port is open, and says nothing to others. */
export function controlPlaneNetworkPolicy(release: Release, clients: unknown, metrics: unknown): Tree {
  return networkPolicy(release, 'control-plane', [
    { port: 14010, from: new Extended([optedIn, inAnyNamespace('router')], clients) },
    { port: 14012 },
    { port: 14013, from: metrics as Tree },
  ]);
}

export function identityNetworkPolicy(release: Release, clients: unknown, metrics: unknown): Tree {
  const routers = { podSelector: { matchLabels: selectorOf('router') } };
  return networkPolicy(release, 'identity', [
    { port: 14030, from: new Extended([routers, inAnyNamespace('control-plane')], clients) },
    { port: 14031, from: metrics as Tree },
  ]);
}

/** Customers call from anywhere. */
export function routerNetworkPolicy(release: Release, metrics: unknown): Tree {
  return networkPolicy(release, 'router', [{ port: 14443 }, { port: 14444, from: metrics as Tree }]);
}

/** About what comes in alone: where a process calls is known (the API server, other clusters) by nothing that could be selected. */
function networkPolicy(release: Release, component: Component, openings: readonly Opening[]): Tree {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: own(release, component, `cellmesh-${component}`),
    spec: {
      podSelector: { matchLabels: selectorOf(component) },
      policyTypes: ['Ingress'],
      ingress: openings.map(({ port, from }) => ({
        ports: [{ port, protocol: 'TCP' }],
        ...(from !== undefined && { from }),
      })),
    },
  };
}
