import { type ServedService, served } from '#api/api-server.ts';
import type { Caller } from '#api/caller.ts';
import { Feed, type FromSubscriber, type Hello, type Registration } from '#api/generated/cellmesh/feeds/v1/feed_pb.ts';
import type { MessageStream } from '#api/message-stream.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { digestOf, type FeedSnapshot, type FeedType, feedTypes, isFeedType } from './snapshot.ts';

/** What a publisher decides about one subscriber. */
export interface FeedPublisher {
  /** The newest state of `type` for this caller; undefined when there is none yet, or it is not for this caller. */
  snapshotFor(type: FeedType, subscriber: FeedSubscriber): FeedSnapshot | undefined;
  /** A subscriber came that holds this revision of `type`, from before a restart: later ones must be higher. */
  onHeld?(type: FeedType, revision: number): void;
  /** The subscriber says where its service can be reached; undefined when its stream has ended. */
  onRegistration?(subscriber: FeedSubscriber, registration: FeedRegistration | undefined): void;
  /** The subscriber's service is not to be sent there any more; its stream goes on. */
  onWithdrawal?(subscriber: FeedSubscriber): void;
  /** A subscriber met a token whose key it does not know. */
  onKeyQuestion?(subscriber: FeedSubscriber, question: { readonly iss: string; readonly kid: string }): void;
}

export interface FeedRegistration {
  readonly address: string;
  readonly port: number;
  readonly locality: string;
  readonly weight: number;
}

export interface FeedSubscriber {
  readonly caller: Caller;
  readonly instance: string;
  readonly features: ReadonlySet<string>;
}

interface SubscriberState {
  readonly type: FeedType;
  readonly revisionSent: number;
  readonly revisionAcked: number;
  readonly nackReason: string | undefined;
}

type Stream = MessageStream<FromSubscriber, FromPublisherInit>;
type FromPublisherInit = Parameters<Parameters<Parameters<typeof served<typeof Feed>>[1]['subscribe']>[0]['send']>[0];

/** A silent stream is told from a dead one by these. */
const heartbeatEveryMs = 5_000;
const subscribersMax = 2_000;
const instanceCharactersMax = 128;

/**
 * The publishing end of feeds. For each subscriber and type at most one push is unacknowledged, and the newest wins: who is slow
 * skips states instead of queueing them. Types go out in the order of `feedTypes`: revocations wait for nothing, bundles and keys
 * come before the policy that needs them.
 */
export class FeedServer implements Disposable {
  readonly #publisher: FeedPublisher;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #sessions = new Set<Session>();
  readonly #onRefused: (subscriber: FeedSubscriber, type: FeedType, reason: string) => void;
  #heartbeat: Scheduled | undefined;

  constructor(options: {
    publisher: FeedPublisher;
    clock: Clock;
    logger: Logger;
    onNack?: (subscriber: FeedSubscriber, type: FeedType, reason: string) => void;
  }) {
    this.#publisher = options.publisher;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#onRefused = options.onNack ?? (() => {});
    this.#scheduleHeartbeat();
  }

  get service(): ServedService {
    return served(Feed, { subscribe: (stream, caller) => this.accept(stream, caller) });
  }

  /** Something of these types has changed, for whomever: looks at every subscriber and pushes what is new to it. */
  changed(...types: readonly FeedType[]): void {
    for (const session of this.#sessions) for (const type of types) session.offer(type);
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

  accept(stream: Stream, caller: Caller): void {
    if (this.#sessions.size >= subscribersMax) {
      stream.end(
        new CellmeshError('rpc_rate_limited', `${subscribersMax} subscribers are connected`, { retryable: true }),
      );
      return;
    }
    const session: Session = new Session(stream, caller, this.#publisher, this.#clock, {
      onNack: (subscriber, type, reason) => {
        this.#logger.warn('a subscriber refuses a snapshot', {
          instance: subscriber.instance,
          peer: caller.peer?.id,
          type,
          reason,
        });
        this.#onRefused(subscriber, type, reason);
      },
      onEnd: () => this.#sessions.delete(session),
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

interface TypeState {
  revisionSent: number;
  revisionAcked: number;
  /** Digest of what the subscriber was sent or said it holds. */
  digest: Buffer | undefined;
  isAwaitingAnswer: boolean;
  isOffered: boolean;
  nackReason: string | undefined;
}

interface SessionEvents {
  readonly onNack: (subscriber: FeedSubscriber, type: FeedType, reason: string) => void;
  readonly onEnd: () => void;
}

class Session {
  subscriber: FeedSubscriber | undefined;
  registration: FeedRegistration | undefined;
  readonly #stream: Stream;
  readonly #caller: Caller;
  readonly #publisher: FeedPublisher;
  readonly #clock: Clock;
  readonly #events: SessionEvents;
  readonly #types = new Map<FeedType, TypeState>();

  constructor(stream: Stream, caller: Caller, publisher: FeedPublisher, clock: Clock, events: SessionEvents) {
    this.#stream = stream;
    this.#caller = caller;
    this.#publisher = publisher;
    this.#clock = clock;
    this.#events = events;
    stream.onMessage((message) => this.#onMessage(message));
    stream.onEnd(() => {
      events.onEnd();
      if (this.registration !== undefined && this.subscriber !== undefined)
        publisher.onRegistration?.(this.subscriber, undefined);
    });
  }

  readonly states = (): readonly SubscriberState[] =>
    [...this.#types].map(([type, { revisionSent, revisionAcked, nackReason }]) => ({
      type,
      revisionSent,
      revisionAcked,
      nackReason,
    }));

  end(): void {
    this.#stream.end();
  }

  heartbeat(): void {
    this.#stream.send({ message: { case: 'heartbeat', value: { time: BigInt(this.#clock.now()) } } });
  }

  /** Sends the newest state of `type`, unless the subscriber has it or has not answered the one before. */
  offer(type: FeedType): void {
    const state = this.#types.get(type);
    if (state === undefined || this.subscriber === undefined) return;
    if (state.isAwaitingAnswer) {
      state.isOffered = true;
      return;
    }
    state.isOffered = false;
    const snapshot = this.#publisher.snapshotFor(type, this.subscriber);
    if (snapshot === undefined || snapshot.revision < state.revisionSent) return;
    const digest = digestOf(snapshot.document);
    if (state.digest?.equals(digest)) return;
    state.revisionSent = snapshot.revision;
    state.digest = digest;
    state.isAwaitingAnswer = true;
    const { revision, madeAt, requires, document } = snapshot;
    this.#stream.send({
      message: {
        case: 'snapshot',
        value: {
          type,
          revision: BigInt(revision),
          digest,
          requires: [...requires],
          document: Buffer.from(document),
          madeAt: BigInt(madeAt),
        },
      },
    });
  }

  #onMessage({ message }: FromSubscriber): void {
    if (message.case === 'hello') return this.#onHello(message.value);
    const { subscriber } = this;
    if (subscriber === undefined)
      return this.#stream.end(new CellmeshError('feed_invalid', 'the first message must be Hello'));
    switch (message.case) {
      case 'ack':
        return this.#onAnswer(message.value.type, Number(message.value.revision), undefined);
      case 'nack':
        return this.#onAnswer(
          message.value.type,
          Number(message.value.revision),
          message.value.reason.slice(0, 1024) || 'no reason given',
        );
      case 'withdrawal':
        this.registration = undefined;
        return this.#publisher.onWithdrawal?.(subscriber);
      case 'registration':
        return this.#onRegistration(subscriber, message.value);
      case 'keyQuestion':
        return this.#publisher.onKeyQuestion?.(subscriber, message.value);
      case undefined:
        // A message of a later version: what it asks for cannot be vital to one that still speaks this version.
        return undefined;
    }
  }

  #onHello({ instance, features, wants }: Hello): void {
    if (this.subscriber !== undefined) return this.#stream.end(new CellmeshError('feed_invalid', 'Hello came twice'));
    this.subscriber = {
      caller: this.#caller,
      instance: instance.slice(0, instanceCharactersMax),
      features: new Set(features.slice(0, 100)),
    };
    for (const { type, revision, digest } of wants) {
      if (!isFeedType(type)) continue;
      this.#publisher.onHeld?.(type, Number(revision));
      this.#types.set(type, {
        revisionSent: 0,
        revisionAcked: Number(revision),
        digest: digest.length === 0 ? undefined : Buffer.from(digest),
        isAwaitingAnswer: false,
        isOffered: false,
        nackReason: undefined,
      });
    }
    for (const type of feedTypes) this.offer(type);
  }

  #onAnswer(type: string, revision: number, nackReason: string | undefined): void {
    const state = isFeedType(type) ? this.#types.get(type) : undefined;
    if (state === undefined || !state.isAwaitingAnswer || revision !== state.revisionSent) return;
    state.isAwaitingAnswer = false;
    state.nackReason = nackReason;
    if (nackReason === undefined) state.revisionAcked = revision;
    else this.#events.onNack(this.subscriber!, type as FeedType, nackReason);
    if (state.isOffered) this.offer(type as FeedType);
  }

  #onRegistration(subscriber: FeedSubscriber, { address, port, locality, weight }: Registration): void {
    if (
      address === '' ||
      address.length > 255 ||
      port < 1 ||
      port > 65_535 ||
      locality.length > 128 ||
      weight > 1_000
    ) {
      return this.#stream.end(new CellmeshError('feed_invalid', 'the registration is malformed'));
    }
    this.registration = { address, port, locality, weight: weight === 0 ? 1 : weight };
    this.#publisher.onRegistration?.(subscriber, this.registration);
  }
}
