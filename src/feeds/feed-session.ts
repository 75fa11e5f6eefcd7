import type { served } from '#api/api-server.ts';
import type { Caller } from '#api/caller.ts';
import type { Feed, FromSubscriber, Hello, Registration } from '#api/generated/cellmesh/feeds/v1/feed_pb.ts';
import type { MessageStream } from '#api/message-stream.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
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
  /** Of its program; empty for one that does not tell. */
  readonly version: string;
}

export interface SubscriberState {
  readonly type: FeedType;
  readonly revisionSent: number;
  readonly revisionAcked: number;
  readonly nackReason: string | undefined;
  /** What was acknowledged on this stream; 0 before. */
  readonly revisionTaken: number;
  /** It has said that it holds what the publisher has now. */
  readonly isCurrent: boolean;
}

export type FeedStream = MessageStream<FromSubscriber, FromPublisherInit>;
type FromPublisherInit = Parameters<Parameters<Parameters<typeof served<typeof Feed>>[1]['subscribe']>[0]['send']>[0];

const instanceCharactersMax = 128;
const versionCharactersMax = 64;

interface TypeState {
  revisionSent: number;
  revisionAcked: number;
  revisionTaken: number;
  /** Digest of what the subscriber was sent or said it holds. */
  digest: Buffer | undefined;
  isAwaitingAnswer: boolean;
  isOffered: boolean;
  nackReason: string | undefined;
}

interface SessionEvents {
  readonly onNack: (subscriber: FeedSubscriber, type: FeedType, reason: string) => void;
  readonly onProgress: () => void;
  readonly onEnd: () => void;
}

/** One subscriber's stream. */
export class FeedSession {
  subscriber: FeedSubscriber | undefined;
  registration: FeedRegistration | undefined;
  readonly #stream: FeedStream;
  readonly #caller: Caller;
  readonly #publisher: FeedPublisher;
  readonly #clock: Clock;
  readonly #events: SessionEvents;
  readonly #types = new Map<FeedType, TypeState>();

  constructor(stream: FeedStream, caller: Caller, publisher: FeedPublisher, clock: Clock, events: SessionEvents) {
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
    [...this.#types].map(([type, state]) => ({
      type,
      ...state,
      isCurrent: state.digest !== undefined && !state.isAwaitingAnswer && state.nackReason === undefined,
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

  #onHello({ instance, features, wants, version }: Hello): void {
    if (this.subscriber !== undefined) return this.#stream.end(new CellmeshError('feed_invalid', 'Hello came twice'));
    this.subscriber = {
      caller: this.#caller,
      instance: instance.slice(0, instanceCharactersMax),
      features: new Set(features.slice(0, 100)),
      version: version.slice(0, versionCharactersMax),
    };
    for (const { type, revision, digest } of wants) {
      if (!isFeedType(type)) continue;
      this.#publisher.onHeld?.(type, Number(revision));
      this.#types.set(type, {
        revisionSent: 0,
        revisionAcked: Number(revision),
        revisionTaken: 0,
        digest: digest.length === 0 ? undefined : Buffer.from(digest),
        isAwaitingAnswer: false,
        isOffered: false,
        nackReason: undefined,
      });
    }
    for (const type of feedTypes) this.offer(type);
    this.#events.onProgress();
  }

  #onAnswer(type: string, revision: number, nackReason: string | undefined): void {
    const state = isFeedType(type) ? this.#types.get(type) : undefined;
    if (state === undefined || !state.isAwaitingAnswer || revision !== state.revisionSent) return;
    state.isAwaitingAnswer = false;
    state.nackReason = nackReason;
    if (nackReason === undefined) state.revisionAcked = state.revisionTaken = revision;
    else this.#events.onNack(this.subscriber!, type as FeedType, nackReason);
    if (state.isOffered) this.offer(type as FeedType);
    this.#events.onProgress();
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
