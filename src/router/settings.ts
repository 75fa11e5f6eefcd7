import { hostname } from 'node:os';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { decisionSettings } from '#feeds/decision-settings.ts';
import {
  address,
  type Config,
  choice,
  duration,
  optional,
  parsed,
  path,
  type Settings,
  text,
} from '#runtime/config.ts';
import { limitSettings } from '#wire/limit-settings.ts';

/** What a cell router is started with. */
export const routerSettings = {
  instance: optional(
    text(
      "name of this router, the last part of its SPIFFE ID; default: the host name, which is the pod's in a cluster",
    ),
  ),
  region: text('region, the part before', 'local'),
  locality: text('where it runs: instances of the same place are preferred', 'local'),
  globalTrustDomain: parsed('the global trust domain', 'DOMAIN', parseTrustDomain),
  globalBundle: path("file with the global trust domain's bundle (SPIFFE JWKS)"),
  identity: address('gRPC of the identity service', { host: '127.0.0.1', port: 14030 }),
  tokenIssuer: text('the `iss` of cell tokens, as identity is set'),
  identityRegion: text('the region in the SPIFFE ID of the identity service', 'local'),
  joinToken: optional(path('file with a join token; needed once, before there is an SVID')),
  attestTokenFile: optional(
    path(
      'file with a projected service-account token of Kubernetes, in place of a join token; shown at each renewal too',
    ),
  ),
  stateDir: path('directory for SVID, signing key, last good state and decisions; belongs to this router alone'),
  listen: address('HTTPS for customers', { host: '127.0.0.1', port: 14443 }),
  certificate: path('certificate chain of the HTTPS port (PEM)'),
  certificateKey: path('its private key (PEM, mode 0600)'),
  health: address('health and metrics', { host: '127.0.0.1', port: 14444 }),
  svidRenewal: duration('time between renewals of the SVID', 2 * 3600_000),
  drain: duration('how long requests in flight may take to end when the router stops', 10_000),
  ...decisionSettings,
  ...limitSettings,
  logLevel: choice('what is logged', ['debug', 'info', 'warn', 'error'], 'info'),
} as const satisfies Settings;

/** As they are given. */
export type RouterSettings = Config<typeof routerSettings>;
export type RouterConfig = RouterSettings & { readonly instance: string };

/** The settings of a router that has a name. */
export function named(settings: RouterSettings): RouterConfig {
  return { ...settings, instance: settings.instance ?? hostname() };
}
