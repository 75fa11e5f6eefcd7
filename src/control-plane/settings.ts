import { rootSettings } from '#certs/root-settings.ts';
import { parseTrustDomain, type TrustDomain } from '#certs/spiffe-id.ts';
import { decisionStoreSettings } from '#feeds/decision-settings.ts';
import { address, type Config, choice, duration, flag, optional, parsed, path, text } from '#runtime/config.ts';

/** What a control plane is started with. */
export const controlPlaneSettings = {
  stateDir: path('where root, database and last good state lie'),
  manifestsDir: optional(
    path(
      'directory with the cell document and the manifests of its services (*.yaml); without it they are objects of the cluster that `--kubernetes` names',
    ),
  ),
  listen: address('gRPC for sidecars, routers and operators', { host: '127.0.0.1', port: 14010 }),
  health: address('health and metrics', { host: '127.0.0.1', port: 14013 }),
  globalTrustDomain: optional(
    parsed(
      'the trust domain of identity and the routers; default: what the cell document says, and nothing else in any case',
      'NAME',
      parseTrustDomain,
    ),
  ),
  globalBundle: optional(
    path('trust bundle of the global trust domain (JSON); `--identity` needs it, and without it there are no routers'),
  ),
  identity: optional(address('gRPC of the identity service, where token keys come from; without it no token is good')),
  identityRegion: text('the region in the SPIFFE ID of the identity service', 'local'),
  rootKey: optional(path("an operator's own root key (PEM), instead of one made at the first start")),
  rootCertificate: optional(path("the certificate of the operator's root key (PEM)")),
  kubernetes: optional(
    path('the cluster that the cell is in, whose pods are attested: `in-cluster`, or a kubeconfig file'),
  ),
  namespace: optional(
    text("the control plane's own namespace; default: its pod's, and `cellmesh` outside of the cluster"),
  ),
  replica: optional(text('name of this replica, that of its pod; default: the host name')),
  attestAudience: optional(
    text("the audience that service-account tokens must have; default: the control plane's SPIFFE ID"),
  ),
  attestAddresses: flag('whether a pod must call from its own address; not where calls are masqueraded', true),
  webhook: optional(address('where the API server calls to have pods injected and manifests checked (HTTPS)')),
  webhookHost: optional(text('DNS name by which it calls; default: `cellmesh-control-plane.<namespace>.svc`')),
  injector: optional(path('settings of injected sidecars (YAML), as `cellmesh inject --config` reads them')),
  settle: duration(
    'in a cluster, how long it serves on as before after it has been told to end, until nobody is sent to it any more',
    5_000,
  ),
  svidLifetime: duration('how long an SVID lives', 12 * 3600_000),
  ...rootSettings,
  ...decisionStoreSettings,
  operator: text('whom the first administrator identity is for', 'local'),
  logLevel: choice('what is logged', ['debug', 'info', 'warn', 'error'], 'info'),
} as const;

export type ControlPlaneConfig = Config<typeof controlPlaneSettings>;

/** With what the cell document says. */
export interface CellConfig extends Omit<ControlPlaneConfig, 'globalTrustDomain'> {
  readonly globalTrustDomain: TrustDomain;
}
