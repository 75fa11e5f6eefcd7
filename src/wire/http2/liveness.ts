import type { Clock } from '#runtime/clock.ts';
import { Deadline } from '../deadline.ts';

interface LivenessOptions {
  readonly clock: Clock;
  /** For the peer's SETTINGS, and from the first byte of a frame or header block to its last. */
  readonly headMs: number;
  /** Without a stream; Infinity when somebody else decides that. */
  readonly idleMs: number;
  readonly pingAfterMs: number;
  readonly pingMs: number;
}

interface LivenessOwner {
  readonly openStreams: number;
  /** The peer owes the rest of something it began, or its first SETTINGS. */
  readonly isIncomplete: boolean;
  sendPing(): void;
  /** Nothing was said for long on a connection without streams. */
  becameIdle(): void;
  /** The peer does not answer, or does not go on. */
  isGone(why: string): void;
}

/** Whether a connection is still worth having: one timer that looks at a few times when it fires. */
export class Liveness {
  readonly #options: LivenessOptions;
  readonly #owner: LivenessOwner;
  readonly #deadline: Deadline;
  #lastReadAt: number;
  #idleSince: number;
  #incompleteSince: number;
  #pingedAt = Number.POSITIVE_INFINITY;

  constructor(options: LivenessOptions, owner: LivenessOwner) {
    this.#options = options;
    this.#owner = owner;
    this.#deadline = new Deadline(options.clock, () => this.#look());
    const now = options.clock.monotonic();
    this.#lastReadAt = now;
    this.#idleSince = now;
    this.#incompleteSince = now;
    this.#arm(now);
  }

  /** Bytes came; `hasProgressed`: at least one frame was completed by them. */
  read(now: number, hasProgressed: boolean): void {
    this.#lastReadAt = now;
    this.#pingedAt = Number.POSITIVE_INFINITY;
    if (hasProgressed || !this.#owner.isIncomplete) this.#incompleteSince = now;
  }

  /** The first stream opened, or the last one closed. */
  streamsChanged(now: number): void {
    this.#idleSince = now;
    if (!this.#deadline.isSet) this.#arm(now);
  }

  dispose(): void {
    this.#deadline.dispose();
  }

  #look(): void {
    const now = this.#options.clock.monotonic();
    const { headMs, idleMs, pingAfterMs, pingMs } = this.#options;
    const owner = this.#owner;
    if (owner.isIncomplete && now - this.#incompleteSince >= headMs) {
      owner.isGone('the peer did not go on with what it began');
    } else if (now - this.#pingedAt >= pingMs) owner.isGone('the peer does not answer');
    else if (owner.openStreams === 0 && now - this.#idleSince >= idleMs) owner.becameIdle();
    else {
      if (owner.openStreams > 0 && this.#pingedAt > now && now - this.#lastReadAt >= pingAfterMs) {
        this.#pingedAt = now;
        owner.sendPing();
      }
      this.#arm(now);
    }
  }

  /** Looks again when the first of the times can have come. */
  #arm(now: number): void {
    const { headMs, idleMs, pingAfterMs, pingMs } = this.#options;
    const next = Math.min(
      this.#incompleteSince + headMs > now ? this.#incompleteSince + headMs : now + headMs,
      this.#owner.openStreams === 0 ? this.#idleSince + idleMs : Number.POSITIVE_INFINITY,
      this.#lastReadAt + pingAfterMs > now ? this.#lastReadAt + pingAfterMs : now + pingAfterMs,
      this.#pingedAt + pingMs,
    );
    this.#deadline.set(Math.max(1, next - now));
  }
}
