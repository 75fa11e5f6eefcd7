import { rootSettings } from '#certs/root-settings.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { decisionStoreSettings } from '#feeds/decision-settings.ts';
import { address, type Config, choice, duration, flag, optional, parsed, path, text } from '#runtime/config.ts';

/** What a control plane is started with. */
export const controlPlaneSettings = {
  stateDir: path('where root, database and last good state lie'),
  manifestsDir: path('directory with the cell document and the manifests of its services (*.yaml)'),
  listen: address('gRPC for sidecars, routers and operators', { host: '127.0.0.1', port: 14010 }),
  health: address('health and metrics', { host: '127.0.0.1', port: 14013 }),
  globalTrustDomain: parsed('the trust domain of identity and the routers', 'NAME', parseTrustDomain),
  globalBundle: optional(
    path('trust bundle of the global trust domain (JSON); `--identity` needs it, and without it there are no routers'),
  ),
  identity: optional(address('gRPC of the identity service, where token keys come from')),
  identityRegion: text('the region in the SPIFFE ID of the identity service', 'local'),
  rootKey: optional(path("an operator's own root key (PEM), instead of one made at the first start")),
  rootCertificate: optional(path("the certificate of the operator's root key (PEM)")),
  kubernetes: optional(path('the cluster whose pods are attested: `in-cluster`, or a kubeconfig file')),
  attestAudience: optional(
    text("the audience that service-account tokens must have; default: the control plane's SPIFFE ID"),
  ),
  attestAddresses: flag('whether a pod must call from its own address; not where calls are masqueraded', true),
  svidLifetime: duration('how long an SVID lives', 12 * 3600_000),
  ...rootSettings,
  ...decisionStoreSettings,
  operator: text('whom the first administrator identity is for', 'local'),
  logLevel: choice('what is logged', ['debug', 'info', 'warn', 'error'], 'info'),
} as const;

export type ControlPlaneConfig = Config<typeof controlPlaneSettings>;
