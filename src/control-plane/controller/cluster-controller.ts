import type { Authority } from '#certs/authority.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import type { FeedServer } from '#feeds/feed-server.ts';
import type { Watch } from '#runtime/watch.ts';
import type { CellPublisher } from '../cell-publisher.ts';
import type { Rollouts, Withdrawal } from '../rollouts.ts';
import type { ProcessDependencies } from '../start-control-plane.ts';
import { BundleWriter } from './bundle-writer.ts';
import type { ClusterConnection } from './cluster-connection.ts';
import type { ClusterPods } from './cluster-pods.ts';
import type { Outcomes } from './cluster-policy-source.ts';
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
  #reports: ReplicaReports | undefined;
  #status: StatusWriter | undefined;
  #withdrawals: WithdrawalWriter | undefined;

  constructor(options: ClusterControllerOptions) {
    const { outcomes, connection, authority } = options;
    const { client, leadership, namespace } = connection;
    this.#stack.use(new BundleWriter({ ...options, client, leadership, namespace, bundle: authority.bundle }));
    if (outcomes !== undefined) this.#tellStatus({ ...options, outcomes });
  }

  /** Sidecars have come, gone or answered. */
  onProgress(): void {
    this.#reports?.ownChanged();
  }

  /** This replica has withdrawn a candidate. */
  onWithdrawn(withdrawal: Withdrawal): void {
    this.#withdrawals?.tell(withdrawal);
  }

  /** Pods have come or gone. */
  onPods(): void {
    this.#status?.changed();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #tellStatus(options: ClusterControllerOptions & { readonly outcomes: Watch<Outcomes> }): void {
    const { connection, publisher, pods } = options;
    const { client, namespace, replica, leadership } = connection;
    this.#withdrawals = this.#stack.use(new WithdrawalWriter({ ...options, client }));
    const progress = this.#stack.use(
      new SubscriberProgress({
        ...options,
        revision: () => publisher.revisions.of('policy').revision,
        onChange: () => this.onProgress(),
      }),
    );
    const reports = new ReplicaReports({
      ...{ ...options, client, namespace, replica },
      own: () => progress.report(),
      onChange: () => this.#status?.changed(),
    });
    this.#reports = this.#stack.use(reports);
    this.#status = this.#stack.use(
      new StatusWriter({
        ...{ ...options, client, leadership },
        reports: () => reports.all(),
        podsOf: (inNamespace, serviceAccount) => pods.countOf(inNamespace, serviceAccount),
      }),
    );
  }
}
