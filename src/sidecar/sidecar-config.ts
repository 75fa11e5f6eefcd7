import { parseRecordedProbes } from '#api/recorded-probes.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { decisionSettings } from '#feeds/decision-settings.ts';
import { otlpSettings } from '#feeds/otlp-settings.ts';
import {
  address,
  type Config,
  choice,
  duration,
  flag,
  fraction,
  integer,
  optional,
  parsed,
  path,
  type Settings,
  text,
} from '#runtime/config.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import { limitSettings } from '#wire/limit-settings.ts';
import { isLoopback } from './loopback.ts';

const dnsLabel = (value: string): string => {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(value)) return value;
  throw new Error('must be a DNS label in lower case');
};

const addressList = (value: string): readonly string[] => value.split(',').filter((one) => one !== '');

const loopbackHost = (value: string): string => {
  if (isLoopback(value)) return value;
  throw new Error('must be a loopback address: the application must not be reachable but through its sidecar');
};

/** Every setting of a sidecar. `cellmesh sidecar --help` is written from this table. */
export const sidecarSettings = {
  namespace: parsed('Namespace of the service.', 'NAME', dnsLabel),
  serviceAccount: parsed('Service account of the service.', 'NAME', dnsLabel),
  cellId: parsed('Id of the cell.', 'NAME', parseCellId),
  trustDomain: parsed('Trust domain of the cell.', 'DOMAIN', parseTrustDomain),
  globalTrustDomain: parsed('Trust domain of routers.', 'DOMAIN', parseTrustDomain),
  controlPlane: address("The control plane's gRPC port.", { host: '127.0.0.1', port: 14010 }),
  trustBundle: path("File with the cell's trust bundle (SPIFFE JWKS)."),
  joinToken: optional(path('File with a join token; needed once, before there is an SVID.')),
  attestTokenFile: optional(
    path(
      'File with a projected service-account token of Kubernetes, in place of a join token; shown at each renewal too.',
    ),
  ),
  stateDir: path('Directory for SVID, last good state and decisions; belongs to this sidecar alone.'),
  inbound: address('Where the mesh reaches this service, over mutual TLS.', { host: '0.0.0.0', port: 14006 }),
  advertise: optional(text('Address that others dial for the inbound port; default: its host.')),
  outbound: address("Where the application's calls are taken, on loopback.", { host: '127.0.0.1', port: 14001 }),
  interceptedPort: optional(
    integer('Port on loopback that `cellmesh intercept` redirects connections to; default: nothing is.', {
      min: 1,
      max: 65_535,
    }),
  ),
  health: address('Health and metrics.', { host: '0.0.0.0', port: 14020 }),
  probes: optional(
    parsed('What the health port asks the application, by path; written by the injector.', 'JSON', parseRecordedProbes),
  ),
  adminSocket: optional(path('Unix socket for administration; default: in the state directory.')),
  application: parsed('Loopback address of the application.', 'ADDRESS', loopbackHost, '127.0.0.1'),
  podAddresses: optional(
    parsed(
      'Addresses at which the pod is reached, for the open-port check; default: all of the machine.',
      'ADDRESS,...',
      addressList,
    ),
  ),
  openPortVouched: flag(
    'Do not look whether the application is open to the network: a NetworkPolicy closes it.',
    false,
  ),
  locality: text('Where this instance runs, for load balancing.', 'local'),
  weight: integer('Share of requests against other instances.', { min: 1, max: 1000, fallback: 100 }),
  workers: integer('Threads that serve requests; above 1 on Linux only.', { min: 1, max: 64, fallback: 1 }),
  tracingRatio: fraction('Share of new traces that are sampled; who comes with a trace has decided.', 0.01),
  ...otlpSettings,
  ...decisionSettings,
  svidRenewal: duration('Time between renewals of the SVID.', 2 * 3600_000),
  settle: duration('How long it goes on as before after it has said that it goes, until all have heard of it.', 1_000),
  drain: duration('How long requests in flight may take to end when the sidecar stops.', 10_000),
  ...limitSettings,
  logLevel: choice('What is logged.', ['debug', 'info', 'warn', 'error'], 'info'),
} as const satisfies Settings;

export type SidecarConfig = Config<typeof sidecarSettings>;
