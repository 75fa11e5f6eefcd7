import { type ServedService, served } from '#api/api-server.ts';
import type { Caller } from '#api/caller.ts';
import { Feed } from '#api/generated/cellmesh/feeds/v1/feed_pb.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import {
  type FeedPublisher,
  type FeedRegistration,
  FeedSession,
  type FeedStream,
  type FeedSubscriber,
  type SubscriberState,
} from './feed-session.ts';
import type { FeedType } from './snapshot.ts';

/** A silent stream is told from a dead one by these. */
const heartbeatEveryMs = 5_000;
const subscribersMax = 2_000;

/**
 * The publishing end of feeds. For each subscriber and type at most one push is unacknowledged, and the newest wins: who is slow
 * skips states instead of queueing them. Types go out in the order of `feedTypes`: revocations wait for nothing, bundles and keys
 * come before the policy that needs them.
 */
export class FeedServer implements Disposable {
  readonly #publisher: FeedPublisher;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #sessions = new Set<FeedSession>();
  readonly #onProgress: () => void;
  readonly #onRefused: (subscriber: FeedSubscriber, type: FeedType, reason: string) => void;
  #heartbeat: Scheduled | undefined;

  constructor(options: {
    publisher: FeedPublisher;
    clock: Clock;
    logger: Logger;
    onNack?: (subscriber: FeedSubscriber, type: FeedType, reason: string) => void;
    /** `subscribers` says something else: one has come, gone or answered. */
    onProgress?: () => void;
  }) {
    this.#publisher = options.publisher;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#onRefused = options.onNack ?? (() => {});
    this.#onProgress = options.onProgress ?? (() => {});
    this.#scheduleHeartbeat();
  }

  get service(): ServedService {
    return served(Feed, { subscribe: (stream, caller) => this.accept(stream, caller) });
  }

  /** Something of these types has changed, for whomever: looks at every subscriber and pushes what is new to it. */
  changed(...types: readonly FeedType[]): void {
    for (const session of this.#sessions) for (const type of types) session.offer(type);
  }

  /** The same of one type, for those that `isConcerned`. */
  changedFor(type: FeedType, isConcerned: (subscriber: FeedSubscriber) => boolean): void {
    for (const session of this.#sessions)
      if (session.subscriber !== undefined && isConcerned(session.subscriber)) session.offer(type);
  }

  /** Who is subscribed, and how far each is. */
  subscribers(): readonly {
    readonly subscriber: FeedSubscriber;
    readonly registration: FeedRegistration | undefined;
    readonly types: readonly SubscriberState[];
  }[] {
    return [...this.#sessions].flatMap(({ subscriber, registration, states }) =>
      subscriber === undefined ? [] : [{ subscriber, registration, types: states() }],
    );
  }

  /** Those who want this type and have not taken the newest of it into use. */
  behind(type: FeedType): readonly string[] {
    return this.subscribers()
      .filter(({ types }) => types.some((one) => one.type === type && one.revisionSent > one.revisionAcked))
      .map(({ subscriber }) => `${subscriber.caller.peer?.id ?? ''} (${subscriber.instance})`);
  }

  accept(stream: FeedStream, caller: Caller): void {
    if (this.#sessions.size >= subscribersMax) {
      stream.end(
        new CellmeshError('rpc_rate_limited', `${subscribersMax} subscribers are connected`, { retryable: true }),
      );
      return;
    }
    const session: FeedSession = new FeedSession(stream, caller, this.#publisher, this.#clock, {
      onNack: (subscriber, type, reason) => {
        this.#logger.warn('a subscriber refuses a snapshot', {
          instance: subscriber.instance,
          peer: caller.peer?.id,
          type,
          reason,
        });
        this.#onRefused(subscriber, type, reason);
      },
      onProgress: this.#onProgress,
      onEnd: () => {
        this.#sessions.delete(session);
        this.#onProgress();
      },
    });
    this.#sessions.add(session);
  }

  [Symbol.dispose](): void {
    this.#heartbeat?.cancel();
    for (const session of this.#sessions) session.end();
  }

  #scheduleHeartbeat(): void {
    this.#heartbeat = this.#clock.schedule(heartbeatEveryMs, () => {
      for (const session of this.#sessions) session.heartbeat();
      this.#scheduleHeartbeat();
    });
  }
}
