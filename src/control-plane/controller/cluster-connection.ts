import { hostname } from 'node:os';
import { KubernetesClient } from '#kubernetes/client.ts';
import { readClusterAccess } from '#kubernetes/cluster-access.ts';
import { ownNamespace } from '#kubernetes/own-namespace.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import type { ControlPlaneConfig } from '../settings.ts';
import type { ProcessDependencies } from '../start-control-plane.ts';
import { Leadership } from './leadership.ts';

interface ConnectionSettings extends Pick<ControlPlaneConfig, 'namespace' | 'replica'> {
  readonly kubernetes: string;
}

/** The cluster that a control plane is in, who the process is there, and whether it acts for all of its replicas. */
export class ClusterConnection implements AsyncDisposable {
  readonly client: KubernetesClient;
  /** Of the control plane. */
  readonly namespace: string;
  /** Of no two processes alike. */
  readonly replica: string;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly random: Random;
  readonly #owned: AsyncDisposableStack;

  constructor(
    client: KubernetesClient,
    names: { readonly namespace: string; readonly replica: string },
    dependencies: ProcessDependencies,
  ) {
    this.client = client;
    this.namespace = names.namespace;
    this.replica = names.replica;
    this.clock = dependencies.clock;
    this.random = dependencies.random;
    this.#owned = new AsyncDisposableStack();
    this.#owned.use(client);
    this.leadership = this.#owned.use(new Leadership({ ...dependencies, ...names, client }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** @throws CellmeshError `config_invalid`, `document_invalid`, `file_unreadable` for a kubeconfig that cannot be used */
export async function connectCluster(
  settings: ConnectionSettings,
  dependencies: ProcessDependencies,
): Promise<ClusterConnection> {
  const access = await readClusterAccess(settings.kubernetes, process.env);
  const client = await KubernetesClient.open({ access, ...dependencies });
  const namespace = settings.namespace ?? (await ownNamespace());
  return new ClusterConnection(client, { namespace, replica: settings.replica ?? hostname() }, dependencies);
}
