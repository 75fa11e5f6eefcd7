import { environmentNameOf } from '#runtime/config.ts';
import type { GlobalValues } from './global-values.ts';
import { identityNetworkPolicy, routerNetworkPolicy } from './network-policies.ts';
import { identityPermissions, operatorPermissions } from './permissions.ts';
import {
  configVolume,
  disruptionBudget,
  type InstallationFiles,
  labelsOf,
  own,
  podMonitor,
  podSpec,
  type Release,
  selectorOf,
  serviceAccount,
  stateDirectory,
  stateVolume,
  temporaryVolume,
} from './pod-parts.ts';
import { operatorRoles, processRoles } from './roles.ts';
import { anyHost } from './shared-values.ts';
import { Digest, Extended, given, type Tree, type TreeMap, when, YamlText } from './tree.ts';

const identityName = 'cellmesh-identity';
const routerName = 'cellmesh-router';
const certificateDirectory = '/etc/cellmesh-tls';
const trustDirectory = '/run/secrets/cellmesh';
/** Kubernetes' own default; the kubelet puts a new one in place at 80 %. */
const tokenSeconds = 3600;

/** Identity and the routers; their namespace comes before. */
export function globalFiles(values: GlobalValues, release: Release): InstallationFiles {
  const { networkPolicy, monitoring } = values;
  const identity = configMap(
    release,
    'identity',
    new Extended(identitySettings(values, release), values.identity.settings),
  );
  const router = configMap(release, 'router', new Extended(routerSettings(values, release), values.router.settings));
  return {
    'service-account': [
      serviceAccount(release, 'identity'),
      serviceAccount(release, 'router'),
      serviceAccount(release, 'identity', 'cellmesh-operator'),
    ],
    'identity-roles': processRoles(release, 'identity', identityPermissions),
    // Both installations may be in one cluster, where such names are of all.
    'operator-roles': operatorRoles(
      release,
      'identity',
      'cellmesh-global-operator',
      operatorPermissions('cellmesh.identity.', 'cellmesh.policy.v1.DecisionLog/', 'cellmesh.certs.v1.Roots/'),
    ),
    'identity-config-map': [identity],
    'router-config-map': [router],
    'network-policy': [
      when(networkPolicy.enabled, identityNetworkPolicy(release, networkPolicy.identityClients, networkPolicy.metrics)),
      when(networkPolicy.enabled, routerNetworkPolicy(release, networkPolicy.metrics)),
    ],
    'identity-service': [identityService(release)],
    'router-service': [routerService(values, release)],
    'identity-stateful-set': [identityStatefulSet(values, release, identity)],
    'router-deployment': [routerDeployment(values, release, router)],
    // Identity is one: a budget would only hold up the drain of its node.
    'pod-disruption-budget': [disruptionBudget(release, 'router')],
    'pod-monitor': [
      when(monitoring.podMonitor, podMonitor(release, 'identity')),
      when(monitoring.podMonitor, podMonitor(release, 'router')),
    ],
  };
}

function configMap(release: Release, component: 'identity' | 'router', settings: Extended): Tree {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: own(release, component, `cellmesh-${component}`),
    data: { 'config.yaml': new YamlText(settings) },
  };
}

function identitySettings(
  { trustDomain, tokenIssuer, region, logLevel }: GlobalValues,
  { namespace }: Release,
): TreeMap {
  return {
    kubernetes: 'in-cluster',
    routerServiceAccount: `${namespace}/${routerName}`,
    stateDir: stateDirectory,
    listen: `${anyHost}:14030`,
    health: `${anyHost}:14031`,
    trustDomain,
    tokenIssuer,
    region,
    logLevel,
  };
}

function routerSettings(values: GlobalValues, { namespace }: Release): TreeMap {
  const { trustDomain, tokenIssuer, region, logLevel } = values;
  return {
    stateDir: stateDirectory,
    listen: `${anyHost}:14443`,
    health: `${anyHost}:14444`,
    certificate: `${certificateDirectory}/tls.crt`,
    certificateKey: `${certificateDirectory}/tls.key`,
    globalTrustDomain: trustDomain,
    globalBundle: `${trustDirectory}/trust-bundle.json`,
    attestTokenFile: `${trustDirectory}/token`,
    identity: `${identityName}.${namespace}.svc:14030`,
    identityRegion: region,
    tokenIssuer,
    region,
    logLevel,
  };
}

function identityService(release: Release): Tree {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: own(release, 'identity', identityName),
    spec: {
      selector: selectorOf('identity'),
      ports: [
        { name: 'grpc', port: 14030, targetPort: 'grpc' },
        { name: 'jwks', port: 14031, targetPort: 'health' },
      ],
    },
  };
}

function routerService({ router }: GlobalValues, release: Release): Tree {
  const { annotations, type, port } = router.service;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: own(release, 'router', routerName, { annotations: given(annotations) }),
    spec: { type, selector: selectorOf('router'), ports: [{ name: 'https', port, targetPort: 'https' }] },
  };
}

function identityStatefulSet(values: GlobalValues, release: Release, settings: Tree): Tree {
  const { image, identity } = values;
  const { size, className } = identity.storage;
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: own(release, 'identity', identityName),
    spec: {
      // Its database takes one.
      replicas: 1,
      serviceName: identityName,
      selector: { matchLabels: selectorOf('identity') },
      template: {
        metadata: podMetadata(release, 'identity', settings),
        spec: podSpec({
          component: 'identity',
          image,
          scheduling: identity,
          callsApiServer: true,
          environment: { [environmentNameOf('namespace')]: 'metadata.namespace' },
          ports: { grpc: 14030 },
          healthPort: 14031,
          volumes: [configVolume(identityName), stateVolume(), temporaryVolume],
        }),
      },
      volumeClaimTemplates: [
        {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: { name: 'state', labels: { ...selectorOf('identity'), 'app.kubernetes.io/part-of': 'cellmesh' } },
          spec: {
            accessModes: ['ReadWriteOnce'],
            storageClassName: given(className),
            resources: { requests: { storage: size } },
          },
        },
      ],
    },
  };
}

function routerDeployment(values: GlobalValues, release: Release, settings: Tree): Tree {
  const { image, router } = values;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: own(release, 'router', routerName),
    spec: {
      replicas: router.replicas,
      selector: { matchLabels: selectorOf('router') },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: podMetadata(release, 'router', settings),
        spec: podSpec({
          component: 'router',
          image,
          scheduling: router,
          callsApiServer: false,
          environment: { [environmentNameOf('instance')]: 'metadata.name' },
          ports: { https: 14443 },
          healthPort: 14444,
          volumes: [
            configVolume(routerName),
            stateVolume({ emptyDir: { sizeLimit: '1Gi' } }),
            temporaryVolume,
            {
              mountPath: certificateDirectory,
              volume: { name: 'certificate', secret: { secretName: router.certificateSecret, defaultMode: 0o440 } },
            },
            { mountPath: trustDirectory, volume: { name: 'trust', projected: { sources: trustOf(values) } } },
          ],
        }),
      },
    },
  };
}

/** A router shows a token for identity alone, and knows identity by the bundle that identity has published. */
function trustOf({ trustDomain, region }: GlobalValues): Tree {
  return [
    {
      serviceAccountToken: {
        audience: `spiffe://${trustDomain}/identity/${region}`,
        expirationSeconds: tokenSeconds,
        path: 'token',
      },
    },
    {
      configMap: {
        name: 'cellmesh-global-trust-bundle',
        items: [{ key: 'trust-bundle.json', path: 'trust-bundle.json' }],
      },
    },
  ];
}

function podMetadata(release: Release, component: 'identity' | 'router', settings: Tree): TreeMap {
  return {
    labels: labelsOf(release, component),
    annotations: { 'cellmesh.io/settings-digest': new Digest(`${component}-config-map`, settings) },
  };
}
