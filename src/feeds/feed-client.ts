import type { MessageInitShape } from '@bufbuild/protobuf';
import type { FromPublisher, FromSubscriberSchema, Snapshot } from '#api/generated/cellmesh/feeds/v1/feed_pb.ts';
import type { MessageStream } from '#api/message-stream.ts';
import { type Clock, type Scheduled, sleep } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { version } from '#runtime/version.ts';
import type { FeedRegistration } from './feed-session.ts';
import type { LastGoodStore } from './last-good.ts';
import { digestOf, type FeedSnapshot, type FeedType, isFeedType } from './snapshot.ts';

type FeedStream = MessageStream<FromPublisher, MessageInitShape<typeof FromSubscriberSchema>>;

export interface FeedClientOptions {
  /** Opens one stream to the publisher. */
  readonly open: () => FeedStream;
  /** For logs: `control plane`, `identity`. */
  readonly publisher: string;
  readonly instance: string;
  readonly features: readonly string[];
  /**
   * Takes a document into use, for each type that is wanted. Throwing refuses it: the one before stays, and the publisher is told why.
   * Called for the last good one on disk too, before the first connection.
   */
  readonly apply: Readonly<Partial<Record<FeedType, (document: string) => void>>>;
  readonly lastGood: LastGoodStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly registration?: FeedRegistration;
}

/** All subscribers of a publisher that comes back must not come at once. */
export const reconnectMsMax = 10_000;
/** After the first loss a reconnect is quick: mostly it was one connection, not the publisher. It doubles with each further one. */
const firstReconnectMsMax = 1_000;
/** Three heartbeats missed. */
const silenceMsMax = 15_000;
/** How long state is used without its publisher's word (DESIGN.md 7). */
export const ageMsMax = 12 * 3600_000;
/** The time of the last word is written down this often, for a restart. */
const confirmEveryMs = 60_000;

interface HeldSnapshot {
  readonly snapshot: FeedSnapshot;
  readonly digest: Buffer;
}

/**
 * The subscribing end of feeds: stays connected, holds each snapshot against revision, digest and required features, hands it to its owner, and
 * keeps the last good one on disk, so that a restart with the publisher away goes on where it was.
 */
export class FeedClient implements AsyncDisposable {
  readonly #options: FeedClientOptions;
  readonly #held = new Map<FeedType, HeldSnapshot>();
  readonly #abort = new AbortController();
  #stream: FeedStream | undefined;
  #isWithdrawn = false;
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #storedConfirmationAt = 0;
  #running: Promise<void> | undefined;

  constructor(options: FeedClientOptions) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#stream !== undefined;
  }

  /** Milliseconds since the publisher last stood by what is held; infinite before the first word. */
  get ageMs(): number {
    // A clock may be set back.
    return Math.max(0, this.#options.clock.now() - this.#confirmedAt);
  }

  /** Whether what is held, or was found on disk, is older than it may be: what depends on it is refused. Who never held anything is not stale. */
  get isStale(): boolean {
    return this.isStaleAt(this.#options.clock.now());
  }

  isStaleAt(nowMs: number): boolean {
    return Number.isFinite(this.#confirmedAt) && nowMs - this.#confirmedAt > ageMsMax;
  }

  holds(type: FeedType): boolean {
    return this.#held.has(type);
  }

  revisionOf(type: FeedType): number | undefined {
    return this.#held.get(type)?.snapshot.revision;
  }

  /** Takes up what lies on disk, then connects and stays connected until disposed. */
  async start(): Promise<void> {
    for (const type of this.#types()) await this.#loadLastGood(type);
    this.#running = this.#run();
  }

  /** Asks for a key; the answer, if there is one, is a snapshot. Nothing happens while there is no connection. */
  askForKey(iss: string, kid: string): void {
    this.#stream?.send({ message: { case: 'keyQuestion', value: { iss, kid } } });
  }

  /** This instance's service is not to be sent here any more; the feeds go on. */
  withdraw(): void {
    if (this.#isWithdrawn) return;
    this.#isWithdrawn = true;
    if (this.#options.registration !== undefined) this.#stream?.send({ message: { case: 'withdrawal', value: {} } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the subscriber stops'));
    await this.#running;
    // Whoever stops it may want the directory for something else, or remove it.
    await this.#options.lastGood.settled();
  }

  #types(): readonly FeedType[] {
    return Object.keys(this.#options.apply).filter(isFeedType);
  }

  async #loadLastGood(type: FeedType): Promise<void> {
    const { lastGood, logger, clock } = this.#options;
    try {
      const found = await lastGood.read(type);
      if (found === undefined) return;
      this.#confirmedAt = Math.max(this.#confirmedAt, found.confirmedAt);
      if (clock.now() - found.confirmedAt > ageMsMax) {
        logger.warn('the last good snapshot is too old to be used', {
          type,
          confirmedAt: new Date(found.confirmedAt).toISOString(),
        });
        return;
      }
      // A later version may have written it, which could do more.
      this.#checkFeatures(found.snapshot.requires);
      this.#take(found.snapshot);
    } catch (error) {
      logger.warn('the last good snapshot cannot be used', { type, reason: messageOf(error) });
    }
  }

  async #run(): Promise<void> {
    const { clock, random, logger, publisher } = this.#options;
    for (let losses = 0; !this.#abort.signal.aborted; ) {
      const reason = await this.#session(() => {
        losses = 0;
      });
      if (this.#abort.signal.aborted) return;
      const pauseMs = random.fraction() * Math.min(reconnectMsMax, firstReconnectMsMax * 2 ** losses++);
      logger.warn(`no feed from ${publisher}`, { reason, againInMs: Math.round(pauseMs) });
      await sleep(clock, pauseMs, this.#abort.signal).catch(() => {});
    }
  }

  /** One connection, from its opening to its end; resolves with why it ended. */
  #session(onAlive: () => void): Promise<string> {
    const { clock } = this.#options;
    const { signal } = this.#abort;
    return new Promise((resolve) => {
      let stream: FeedStream;
      try {
        stream = this.#options.open();
      } catch (error) {
        resolve(messageOf(error));
        return;
      }
      // Also a stream on which nothing has been heard yet must end.
      const onAbort = () => stream.end();
      signal.addEventListener('abort', onAbort, { once: true });
      let silence: Scheduled | undefined;
      const awaitWord = () => {
        silence?.cancel();
        silence = clock.schedule(silenceMsMax, () => stream.end(new Error(`nothing was heard for ${silenceMsMax} ms`)));
      };
      stream.onMessage((message) => {
        onAlive();
        awaitWord();
        this.#stream ??= stream;
        this.#onMessage(stream, message);
      });
      stream.onEnd((error) => {
        silence?.cancel();
        signal.removeEventListener('abort', onAbort);
        if (this.#stream === stream) this.#stream = undefined;
        resolve(error === undefined ? 'the stream ended' : messageOf(error));
      });
      awaitWord();
      this.#introduce(stream);
    });
  }

  #introduce(stream: FeedStream): void {
    const { instance, features, registration } = this.#options;
    const wants = this.#types().map((type) => {
      const held = this.#held.get(type);
      return { type, revision: BigInt(held?.snapshot.revision ?? 0), digest: held?.digest ?? Buffer.alloc(0) };
    });
    stream.send({ message: { case: 'hello', value: { instance, features: [...features], wants, version } } });
    if (registration !== undefined && !this.#isWithdrawn)
      stream.send({ message: { case: 'registration', value: registration } });
  }

  #onMessage(stream: FeedStream, { message }: FromPublisher): void {
    this.#confirmedAt = this.#options.clock.now();
    if (message.case === 'snapshot') this.#onSnapshot(stream, message.value);
    else this.#storeConfirmation();
  }

  #onSnapshot(stream: FeedStream, { type, revision, digest, requires, document, madeAt }: Snapshot): void {
    const answer = { type, revision };
    const refuse = (reason: string) => {
      this.#options.logger.error('a snapshot is refused, the last good one stays', {
        type,
        revision: Number(revision),
        reason,
      });
      stream.send({ message: { case: 'nack', value: { ...answer, reason } } });
    };
    if (!isFeedType(type) || this.#options.apply[type] === undefined) return refuse(`type ${type} was not asked for`);
    if (!digestOf(document).equals(digest)) return refuse('the digest does not fit the document');
    const heldRevision = this.revisionOf(type) ?? 0;
    if (Number(revision) < heldRevision)
      return refuse(`revision ${revision} is older than ${heldRevision}, which is held`);
    const snapshot: FeedSnapshot = {
      type,
      revision: Number(revision),
      requires,
      document: Buffer.from(document).toString('utf8'),
      madeAt: Number(madeAt),
    };
    try {
      this.#checkFeatures(requires);
      this.#take(snapshot);
    } catch (error) {
      return refuse(messageOf(error));
    }
    stream.send({ message: { case: 'ack', value: answer } });
    this.#store(snapshot);
  }

  /** @throws CellmeshError `feed_invalid` when the document would be misread here */
  #checkFeatures(requires: readonly string[]): void {
    const missing = requires.filter((feature) => !this.#options.features.includes(feature));
    if (missing.length > 0)
      throw new CellmeshError('feed_invalid', `it requires ${missing.join(', ')}, which this version lacks`);
  }

  #take(snapshot: FeedSnapshot): void {
    this.#options.apply[snapshot.type]?.(snapshot.document);
    this.#held.set(snapshot.type, { snapshot, digest: digestOf(snapshot.document) });
  }

  #storeConfirmation(): void {
    if (this.#confirmedAt - this.#storedConfirmationAt < confirmEveryMs) return;
    this.#storedConfirmationAt = this.#confirmedAt;
    for (const { snapshot } of this.#held.values()) this.#store(snapshot);
  }

  #store(snapshot: FeedSnapshot): void {
    const { lastGood, logger } = this.#options;
    lastGood.write({ snapshot, confirmedAt: this.#confirmedAt }).catch((error: unknown) => {
      logger.error('a snapshot cannot be kept on disk', { type: snapshot.type, reason: messageOf(error) });
    });
  }
}
