import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { injectionModes } from '#control-plane/injector/settings.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { flag, integer, matching, oneOf } from '#policy/shapes.ts';
import { cellIdPattern } from '#tokens/cell-id.ts';
import {
  anyText,
  image,
  logLevel,
  matchingOrNothing,
  monitoring,
  moreSettings,
  quantity,
  region,
  scheduling,
  trustDomain,
} from './shared-values.ts';
import { group, plainList, type ValuesOf, value } from './values.ts';

/** What an installation of a cell is made with; the values of its chart. */
export const cellValues = {
  cell: group('Who the cell is; as in its `Cell` object.', {
    id: value(matching(cellIdPattern, 'cell id'), 'cell-1', 'Id of the cell: the name of the `Cell` object.'),
    trustDomain: value(
      trustDomain,
      parseTrustDomain('cell-1.cellmesh.localhost'),
      'Trust domain of its workloads: `spec.trustDomain`.',
    ),
    globalTrustDomain: value(
      trustDomain,
      parseTrustDomain('cellmesh.localhost'),
      'Trust domain of routers and identity: `spec.domain`.',
    ),
  }),
  image,
  replicas: value(
    integer(1, 20),
    2,
    'Replicas of the control plane. With one, pods that are to get a sidecar wait while it is away.',
  ),
  logLevel: value(logLevel, 'info', 'What the control plane logs.'),
  settings: value(
    moreSettings(
      controlPlaneSettings,
      ...['stateDir', 'manifestsDir', 'listen', 'health', 'kubernetes', 'globalTrustDomain', 'globalBundle'],
      ...['identity', 'identityRegion', 'logLevel', 'rootKey', 'rootCertificate', 'namespace', 'replica'],
      ...['webhook', 'webhookHost', 'injector'],
    ),
    {},
    'More settings of the control plane, by their names in docs/operations.md: `{ svidLifetime: 12h }`.',
  ),
  stateSize: value(
    quantity,
    '2Gi',
    'Most that recorded decisions and other state of one replica may take on its node.',
  ),
  ...scheduling({ requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '512Mi' } }),
  identity: group('Where customers come from; a cell without it serves its own workloads only.', {
    address: value(
      matchingOrNothing(/^([A-Za-z0-9.-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5})?$/, 'HOST:PORT'),
      '',
      "Address of the identity service, `cellmesh-identity.cellmesh-global.svc:14030`; '': none. It needs the trust bundle.",
    ),
    region: value(region, 'local', 'Region of that service.'),
    trustBundle: value(
      anyText,
      '',
      "Trust bundle of the global trust domain (JSON), what the ConfigMap `cellmesh-global-trust-bundle` beside identity holds; '': no routers.",
    ),
  }),
  injector: group('What the sidecars of all pods have in common; annotations of a pod say more (docs/injection.md).', {
    mode: value(oneOf(...injectionModes), 'explicit', 'How calls reach the sidecar.'),
    cpuRequest: value(quantity, '50m', 'CPU that a sidecar asks for.'),
    memoryRequest: value(quantity, '128Mi', 'Memory that a sidecar asks for.'),
    memoryLimit: value(quantity, '384Mi', 'Memory that it may take.'),
  }),
  networkPolicy: group('Who may reach the control plane, where the network of the cluster enforces it.', {
    enabled: value(flag, true, 'Whether there is a NetworkPolicy.'),
    clients: value(
      plainList,
      [],
      'Peers that may call the gRPC port, beside pods of namespaces that are opted in, and routers: `[{ ipBlock: { cidr: 10.1.0.0/16 } }]`.',
    ),
    metrics: value(
      plainList,
      [{ namespaceSelector: {} }],
      'Peers that may read health and metrics; by default all pods of the cluster.',
    ),
  }),
  monitoring,
};

export type CellValues = ValuesOf<typeof cellValues>;
