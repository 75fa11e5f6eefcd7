import { rootSettings } from '#certs/root-settings.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { decisionStoreSettings } from '#feeds/decision-settings.ts';
import { address, type Config, choice, duration, flag, optional, parsed, path, text } from '#runtime/config.ts';
import { CellmeshError } from '#runtime/errors.ts';

/** What the identity service is started with. */
export const identitySettings = {
  stateDir: path('where root, keys and database lie'),
  trustDomain: parsed('the global trust domain', 'NAME', parseTrustDomain),
  region: text('the region of this instance, part of its SPIFFE ID', 'local'),
  tokenIssuer: text('the `iss` of cell tokens'),
  listen: address('gRPC for routers, control planes and operators', { host: '127.0.0.1', port: 14030 }),
  health: address('health, metrics and the JWKS', { host: '127.0.0.1', port: 14031 }),
  kubernetes: optional(path('the cluster whose routers are attested: `in-cluster`, or a kubeconfig file')),
  namespace: optional(
    text(
      "identity's own namespace, where its trust bundle goes; default: its pod's, and `cellmesh-global` outside of the cluster",
    ),
  ),
  routerServiceAccount: parsed(
    'the service account whose pods are routers',
    'NAMESPACE/NAME',
    parseServiceAccount,
    'cellmesh-global/cellmesh-router',
  ),
  attestAddresses: flag('whether a pod must call from its own address; not where calls are masqueraded', true),
  svidLifetime: duration('how long an SVID lives', 12 * 3600_000),
  ...rootSettings,
  ...decisionStoreSettings,
  operator: text('whom the first administrator identity is for', 'local'),
  logLevel: choice('what is logged', ['debug', 'info', 'warn', 'error'], 'info'),
} as const;

export type IdentityConfig = Config<typeof identitySettings>;

function parseServiceAccount(text: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(text)) return text;
  throw new CellmeshError('config_invalid', 'must be namespace/name of a service account');
}
