import { type SpiffeId, type TrustDomain, workloadId } from '#certs/spiffe-id.ts';
import type { FeedServer } from '#feeds/feed-server.ts';
import { textAt } from '#kubernetes/json.ts';
import type { Watch } from '#runtime/watch.ts';
import type { Outcome, Outcomes } from './cluster-policy-source.ts';
import type { Progress, ReplicaReport } from './replica-report.ts';

interface SubscriberProgressOptions {
  readonly trustDomain: TrustDomain;
  readonly outcomes: Watch<Outcomes>;
  readonly feeds: Pick<FeedServer, 'subscribers'>;
  /** Of the policy that is handed out. */
  readonly revision: () => number;
  readonly onChange: () => void;
}

/** How far the sidecars that this replica feeds are with each object that is in force. */
export class SubscriberProgress implements Disposable {
  readonly #options: SubscriberProgressOptions;
  /** By uid: with which revision the generation that is in force came. */
  #since = new Map<string, { readonly generation: number; readonly revision: number }>();
  readonly #unsubscribe: () => void;

  constructor(options: SubscriberProgressOptions) {
    this.#options = options;
    this.#follow(options.outcomes.current);
    this.#unsubscribe = options.outcomes.subscribe((outcomes) => {
      this.#follow(outcomes);
      options.onChange();
    });
  }

  report(): ReplicaReport {
    const sessions = Map.groupBy(this.#options.feeds.subscribers(), ({ subscriber }) => subscriber.caller.peer!.id);
    const { policies } = this.#options.outcomes.current;
    const entries = policies.flatMap((outcome): [string, Progress][] => {
      const since = this.#since.get(outcome.object.uid);
      const service = this.#serviceOf(outcome);
      const subscribers = service && sessions.get(service);
      if (since === undefined || subscribers === undefined) return [];
      const programmed = subscribers.filter(({ types }) => {
        const policy = types.find(({ type }) => type === 'policy');
        return policy !== undefined && (policy.isCurrent || policy.revisionTaken >= since.revision);
      });
      const { generation } = since;
      return [[outcome.object.uid, { generation, subscribers: subscribers.length, programmed: programmed.length }]];
    });
    return new Map(entries);
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }

  /** A change of others is none of this object: who has taken it up still has it. */
  #follow({ policies }: Outcomes): void {
    const revision = this.#options.revision();
    const entries = policies.flatMap(({ object: { uid }, inForce }) => {
      if (inForce === undefined) return [];
      const known = this.#since.get(uid);
      const { generation } = inForce;
      return [[uid, known?.generation === generation ? known : { generation, revision }] as const];
    });
    this.#since = new Map(entries);
  }

  #serviceOf({ object, inForce }: Outcome): SpiffeId | undefined {
    const serviceAccount = textAt(inForce?.spec, 'serviceAccount');
    if (serviceAccount === undefined) return undefined;
    return workloadId(this.#options.trustDomain, object.namespace!, serviceAccount);
  }
}
