import { environmentNameOf } from '#runtime/config.ts';
import type { CellValues } from './cell-values.ts';
import { controlPlaneNetworkPolicy } from './network-policies.ts';
import { controlPlanePermissions, operatorPermissions } from './permissions.ts';
import {
  configDirectory,
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
import { operatorRoles, processRoles, userRoles } from './roles.ts';
import { anyHost } from './shared-values.ts';
import { Digest, Extended, type Tree, type TreeMap, when, YamlText } from './tree.ts';
import { webhookConfigurations } from './webhook-configurations.ts';

const component = 'control-plane';
const name = 'cellmesh-control-plane';
const globalBundle = { directory: '/etc/cellmesh-global', file: 'trust-bundle.json' };
const globalBundleConfigMap = 'cellmesh-global-trust-bundle';

/** The control plane of a cell; its kinds of objects come before (`k8s/crds`), and its namespace. */
export function cellFiles(values: CellValues, release: Release): InstallationFiles {
  const { networkPolicy, monitoring } = values;
  const { injector, policies } = webhookConfigurations(release);
  const settings = configMap(values, release);
  return {
    'service-account': [serviceAccount(release, component), serviceAccount(release, component, 'cellmesh-operator')],
    roles: processRoles(release, component, controlPlanePermissions),
    'operator-roles': operatorRoles(
      release,
      component,
      'cellmesh-operator',
      operatorPermissions('cellmesh.policy.', 'cellmesh.controlplane.', 'cellmesh.certs.v1.Roots/'),
    ),
    'user-roles': userRoles(release),
    'config-map': [settings],
    'global-trust-bundle': [when(values.identity.trustBundle, globalTrustBundle(values, release))],
    'network-policy': [
      when(networkPolicy.enabled, controlPlaneNetworkPolicy(release, networkPolicy.clients, networkPolicy.metrics)),
    ],
    service: [service(release)],
    deployment: [deployment(values, release, settings)],
    'pod-disruption-budget': [disruptionBudget(release, component)],
    'pod-monitor': [when(monitoring.podMonitor, podMonitor(release, component))],
    'mutating-webhook': [injector],
    'validating-webhook': [policies],
  };
}

function configMap(values: CellValues, release: Release): Tree {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: own(release, component, name),
    data: {
      'config.yaml': new YamlText(new Extended(processSettings(values), values.settings)),
      'injector.yaml': new YamlText(injectorSettings(values, release)),
    },
  };
}

function processSettings({ cell, identity, logLevel }: CellValues): TreeMap {
  return {
    kubernetes: 'in-cluster',
    stateDir: stateDirectory,
    listen: `${anyHost}:14010`,
    webhook: `${anyHost}:14012`,
    health: `${anyHost}:14013`,
    injector: `${configDirectory}/injector.yaml`,
    globalTrustDomain: cell.globalTrustDomain,
    globalBundle: when(identity.trustBundle, `${globalBundle.directory}/${globalBundle.file}`),
    identity: when(identity.address, identity.address),
    identityRegion: identity.region,
    logLevel,
  };
}

/** As `cellmesh inject --config` reads them. */
function injectorSettings({ cell, image, injector }: CellValues, { namespace }: Release): TreeMap {
  return {
    image: image.name,
    imagePullPolicy: image.pullPolicy,
    cellId: cell.id,
    trustDomain: cell.trustDomain,
    globalTrustDomain: cell.globalTrustDomain,
    controlPlane: `${name}.${namespace}.svc:14010`,
    mode: injector.mode,
    cpuRequest: injector.cpuRequest,
    memoryRequest: injector.memoryRequest,
    memoryLimit: injector.memoryLimit,
  };
}

/** Public keys; the control plane of another cluster has no other way to them. */
function globalTrustBundle({ identity }: CellValues, release: Release): Tree {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: own(release, component, globalBundleConfigMap),
    data: { [globalBundle.file]: identity.trustBundle },
  };
}

function service(release: Release): Tree {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: own(release, component, name),
    spec: {
      selector: selectorOf(component),
      ports: [
        { name: 'grpc', port: 14010, targetPort: 'grpc' },
        { name: 'webhook', port: 443, targetPort: 'webhook' },
      ],
    },
  };
}

function deployment(values: CellValues, release: Release, settings: Tree): Tree {
  const { image, replicas, stateSize, identity } = values;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: own(release, component, name),
    spec: {
      replicas,
      selector: { matchLabels: selectorOf(component) },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: {
          labels: labelsOf(release, component),
          annotations: { 'cellmesh.io/settings-digest': new Digest('config-map', settings) },
        },
        spec: podSpec({
          component,
          image,
          scheduling: values,
          callsApiServer: true,
          environment: {
            [environmentNameOf('replica')]: 'metadata.name',
            [environmentNameOf('namespace')]: 'metadata.namespace',
          },
          ports: { grpc: 14010, webhook: 14012 },
          healthPort: 14013,
          volumes: [
            configVolume(name),
            stateVolume({ emptyDir: { sizeLimit: stateSize } }),
            temporaryVolume,
            {
              mountPath: globalBundle.directory,
              volume: { name: 'global-trust-bundle', configMap: { name: globalBundleConfigMap } },
              condition: identity.trustBundle,
            },
          ],
        }),
      },
    },
  };
}
