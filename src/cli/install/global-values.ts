import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { identitySettings } from '#identity/settings.ts';
import { flag, integer, matching, oneOf } from '#policy/shapes.ts';
import { routerSettings } from '#router/settings.ts';
import {
  image,
  issuer,
  logLevel,
  monitoring,
  moreSettings,
  nameOrNothing,
  quantity,
  region,
  scheduling,
  trustDomain,
} from './shared-values.ts';
import { group, plainList, plainMap, type ValuesOf, value } from './values.ts';

const shared = ['stateDir', 'listen', 'health', 'logLevel', 'region', 'tokenIssuer', 'kubernetes', 'namespace'];

/** What an installation of identity and routers is made with; the values of its chart. */
export const globalValues = {
  trustDomain: value(
    trustDomain,
    parseTrustDomain('cellmesh.localhost'),
    'The global trust domain: `spec.domain` of every `Cell`.',
  ),
  tokenIssuer: value(
    issuer,
    'https://identity.cellmesh.localhost',
    'The `iss` of cell tokens: `spec.tokenIssuer` of every `Cell`.',
  ),
  region: value(region, 'local', 'Region of this installation, part of the SPIFFE IDs of identity and routers.'),
  image,
  logLevel: value(logLevel, 'info', 'What the processes log.'),
  identity: group('The identity service: accounts, keys, and the authority of routers.', {
    storage: group('The volume with its database, keys and root.', {
      size: value(quantity, '2Gi', 'Size of the volume.'),
      className: value(
        nameOrNothing('the name of a StorageClass'),
        '',
        "StorageClass of the volume; '': the cluster's default.",
      ),
    }),
    settings: value(
      moreSettings(identitySettings, 'trustDomain', 'routerServiceAccount', ...shared),
      {},
      'More settings of identity, by their names in docs/operations.md.',
    ),
    ...scheduling({ requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '512Mi' } }),
  }),
  router: group('The routers, where customers call.', {
    replicas: value(integer(1, 200), 2, 'How many there are.'),
    certificateSecret: value(
      matching(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'name of a Secret'),
      'cellmesh-router-tls',
      'Secret of type kubernetes.io/tls with the certificate that customers see; it must be there.',
    ),
    service: group('How customers reach them.', {
      type: value(oneOf('LoadBalancer', 'ClusterIP', 'NodePort'), 'LoadBalancer', 'Type of the Service.'),
      port: value(integer(1, 65_535), 443, 'Port of the Service.'),
      annotations: value(plainMap, {}, 'Annotations of the Service, for load balancers of clouds.'),
    }),
    settings: value(
      moreSettings(
        routerSettings,
        ...['instance', 'locality', 'globalTrustDomain', 'globalBundle', 'identity', 'identityRegion', 'joinToken'],
        ...['certificate', 'certificateKey', 'attestTokenFile', ...shared],
      ),
      {},
      'More settings of routers, by their names in docs/operations.md.',
    ),
    ...scheduling({ requests: { cpu: '250m', memory: '256Mi' }, limits: { memory: '512Mi' } }),
  }),
  networkPolicy: group('Who may reach what, where the network of the cluster enforces it.', {
    enabled: value(flag, true, 'Whether there are NetworkPolicies.'),
    identityClients: value(
      plainList,
      [],
      'Peers that may call identity, beside routers here and control planes of cells in this cluster: `[{ ipBlock: { cidr: 10.1.0.0/16 } }]`.',
    ),
    metrics: value(
      plainList,
      [{ namespaceSelector: {} }],
      'Peers that may read health, metrics and the JWKS; by default all pods of the cluster.',
    ),
  }),
  monitoring,
};

export type GlobalValues = ValuesOf<typeof globalValues>;
