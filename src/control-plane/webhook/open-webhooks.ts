import type { Authority } from '#certs/authority.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { Watch } from '#runtime/watch.ts';
import type { ControlPlaneConfig } from '../settings.ts';
import type { ProcessDependencies } from '../start-control-plane.ts';
import type { AdmissionRequest } from './admission-review.ts';
import { admitManifest } from './admit-manifest.ts';
import { admitPod } from './admit-pod.ts';
import { AuthorityBundles } from './authority-bundles.ts';
import { InjectorSettingsFile } from './injector-settings-file.ts';
import type { ManifestSource } from './manifests.ts';
import { WebhookCertificate } from './webhook-certificate.ts';
import { webhookPaths } from './webhook-configurations.ts';
import { WebhookMetrics } from './webhook-metrics.ts';
import { startWebhookServer, type Verdict } from './webhook-server.ts';

interface WebhooksOptions extends ProcessDependencies {
  readonly config: Pick<ControlPlaneConfig, 'webhook' | 'webhookHost' | 'injector'>;
  /** Undefined outside of a cluster. Whoever leads writes the roots for the API server. */
  readonly connection:
    | {
        readonly client: Pick<KubernetesClient, 'apply' | 'list' | 'watch'>;
        readonly namespace: string;
        readonly leadership: Watch<boolean>;
      }
    | undefined;
  readonly authority: Pick<Authority, 'issueServer' | 'bundle'>;
  readonly manifests: ManifestSource;
}

/** What the API server calls. */
export interface Webhooks extends AsyncDisposable {
  readonly port: number;
  /** Why calls cannot be served; empty when they can. */
  notReady(): readonly string[];
  register(metrics: Metrics): void;
}

/**
 * @throws CellmeshError `config_invalid` (settings of the injector, or no cluster), `port_taken`, `svid_not_issued`
 */
export async function openWebhooks(options: WebhooksOptions): Promise<Webhooks> {
  const { connection, injector, address } = neededOf(options);
  const { client, namespace, leadership } = connection;
  const { config, authority, manifests, clock } = options;
  await using opening = new AsyncDisposableStack();
  const file = opening.use(new InjectorSettingsFile({ ...options, file: injector }));
  const name = config.webhookHost ?? `cellmesh-control-plane.${namespace}.svc`;
  const certificate = opening.use(await WebhookCertificate.open({ ...options, name }));
  const metrics = new WebhookMetrics();
  const server = opening.use(
    await startWebhookServer({
      ...options,
      ...address,
      certificate: certificate.certificate,
      metrics,
      webhooks: new Map<string, (request: AdmissionRequest) => Verdict>([
        [
          webhookPaths.inject,
          (request) => admitPod(request, { settings: file.settings, manifests: manifests.current(), namespace }),
        ],
        [webhookPaths.validate, (request) => admitManifest(request, manifests.current(), clock.now())],
      ]),
    }),
  );
  const bundles = opening.use(
    new AuthorityBundles({ ...options, client, bundle: authority.bundle, isLeader: leadership }),
  );
  const owned = opening.move();
  const notReady = () => [
    ...(certificate.notAfter < clock.now() ? ['webhooks: their certificate has ended, and no other was issued'] : []),
    ...(manifests.current() === undefined ? ['webhooks: the manifests of the cluster are not read yet'] : []),
  ];
  return {
    port: server.port,
    notReady,
    register(registry) {
      metrics.register(registry);
      registry.observed(
        'cellmesh_webhook_certificate_not_after_seconds',
        'End of the certificate of the webhooks, seconds since the epoch.',
        () => certificate.notAfter / 1000,
      );
      registry.observed(
        'cellmesh_webhook_roots_current',
        'Whether the API server is told the roots that are in force.',
        () => (bundles.areCurrent ? 1 : 0),
      );
      registry.observed(
        'cellmesh_injector_settings_refused',
        'Whether the file with the settings of the injector is refused, and an older one in force.',
        () => (file.problems.length > 0 ? 1 : 0),
      );
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function neededOf({ config: { webhook, injector }, connection }: WebhooksOptions) {
  if (webhook === undefined) throw new CellmeshError('config_invalid', '--webhook is missing');
  if (injector === undefined)
    throw new CellmeshError(
      'config_invalid',
      '--webhook needs --injector, the settings of the sidecars that it injects',
    );
  if (connection === undefined)
    throw new CellmeshError('config_invalid', '--webhook needs --kubernetes, the cluster whose API server calls it');
  return { connection, injector, address: webhook };
}
