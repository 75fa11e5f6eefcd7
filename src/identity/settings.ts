import { rootSettings } from '#certs/root-settings.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { decisionStoreSettings } from '#feeds/decision-settings.ts';
import { address, type Config, choice, duration, parsed, path, text } from '#runtime/config.ts';

/** What the identity service is started with. */
export const identitySettings = {
  stateDir: path('where root, keys and database lie'),
  trustDomain: parsed('the global trust domain', 'NAME', parseTrustDomain),
  region: text('the region of this instance, part of its SPIFFE ID', 'local'),
  tokenIssuer: text('the `iss` of cell tokens'),
  listen: address('gRPC for routers, control planes and operators', { host: '127.0.0.1', port: 14030 }),
  health: address('health, metrics and the JWKS', { host: '127.0.0.1', port: 14031 }),
  svidLifetime: duration('how long an SVID lives', 12 * 3600_000),
  ...rootSettings,
  ...decisionStoreSettings,
  operator: text('whom the first administrator identity is for', 'local'),
  logLevel: choice('what is logged', ['debug', 'info', 'warn', 'error'], 'info'),
} as const;

export type IdentityConfig = Config<typeof identitySettings>;
