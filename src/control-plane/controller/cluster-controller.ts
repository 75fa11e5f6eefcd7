import type { Authority } from '#certs/authority.ts';
import type { Listener } from '#certs/root-rotation.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import type { TrustBundle } from '#certs/trust-bundle.ts';
import type { FeedServer } from '#feeds/feed-server.ts';
import type { Watch } from '#runtime/watch.ts';
import type { CellPublisher } from '../cell-publisher.ts';
import type { Rollouts, Withdrawal } from '../rollouts.ts';
import type { ProcessDependencies } from '../start-control-plane.ts';
import { BundleWriter } from './bundle-writer.ts';
import type { ClusterConnection } from './cluster-connection.ts';
import type { ClusterPods } from './cluster-pods.ts';
import type { Outcomes } from './cluster-policy-source.ts';
import { serializeBundleProgress } from './replica-report.ts';
import { ReplicaReports } from './replica-reports.ts';
import { StatusWriter } from './status-writer.ts';
import { SubscriberProgress } from './subscriber-progress.ts';
import { WithdrawalWriter } from './withdrawal-writer.ts';

interface ClusterControllerOptions extends ProcessDependencies {
  readonly connection: ClusterConnection;
  readonly pods: Pick<ClusterPods, 'countOf'>;
  readonly trustDomain: TrustDomain;
  readonly authority: Authority;
  /** Undefined where the cell comes from a directory. */
  readonly outcomes: Watch<Outcomes> | undefined;
  readonly feeds: FeedServer;
  readonly publisher: CellPublisher;
  readonly rollouts: Rollouts;
}

/** What a control plane writes into its cluster. */
export class ClusterController implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #reports: ReplicaReports;
  #progress: SubscriberProgress | undefined;
  #status: StatusWriter | undefined;
  #withdrawals: WithdrawalWriter | undefined;

  constructor(options: ClusterControllerOptions) {
    const { outcomes, connection, authority, feeds } = options;
    const { client, leadership, namespace, replica } = connection;
    const { bundle } = authority;
    this.#stack.use(new BundleWriter({ ...options, client, leadership, namespace, bundle }));
    const reports = new ReplicaReports({
      ...{ ...options, client, namespace, replica },
      own: () => this.#progress?.report() ?? new Map(),
      ownBundles: () => serializeBundleProgress(bundle.current.sequence, feeds.behind('bundles')),
      onChange: () => this.#status?.changed(),
    });
    this.#reports = this.#stack.use(reports);
    this.#stack.defer(bundle.subscribe(() => this.onProgress()));
    if (outcomes !== undefined) this.#tellStatus({ ...options, outcomes });
  }

  /** Sidecars have come, gone or answered. */
  onProgress(): void {
    this.#reports.ownChanged();
  }

  /** This replica has withdrawn a candidate. */
  onWithdrawn(withdrawal: Withdrawal): void {
    this.#withdrawals?.tell(withdrawal);
  }

  /** Pods have come or gone. */
  onPods(): void {
    this.#status?.changed();
  }

  /** Who of the other replicas, and of those that they feed, has not taken the bundle that is in force here. */
  listeners(bundle: TrustBundle): readonly Listener[] {
    return this.#reports.listeners(bundle.sequence);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #tellStatus(options: ClusterControllerOptions & { readonly outcomes: Watch<Outcomes> }): void {
    const { connection, publisher, pods } = options;
    const { client, leadership } = connection;
    this.#withdrawals = this.#stack.use(new WithdrawalWriter({ ...options, client }));
    this.#progress = this.#stack.use(
      new SubscriberProgress({
        ...options,
        revision: () => publisher.revisions.of('policy').revision,
        onChange: () => this.onProgress(),
      }),
    );
    this.#status = this.#stack.use(
      new StatusWriter({
        ...{ ...options, client, leadership },
        reports: () => this.#reports.all(),
        podsOf: (inNamespace, serviceAccount) => pods.countOf(inNamespace, serviceAccount),
      }),
    );
  }
}
