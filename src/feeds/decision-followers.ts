import type { MessageStream } from '#api/message-stream.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { StoredDecision } from './decision-store.ts';

/** A follower on a slow terminal misses lines and is told how many, instead of filling our memory. */
interface Follower {
  readonly send: (records: readonly string[], dropped: number) => boolean;
  readonly denialsOnly: boolean;
  isSlow: boolean;
  missed: number;
}

const followersMax = 20;

/** Those who see decisions as they come. */
export class DecisionFollowers {
  readonly #followers = new Set<Follower>();

  tell(decisions: readonly StoredDecision[]): void {
    for (const follower of this.#followers) {
      const wanted = follower.denialsOnly ? decisions.filter(({ isDenial }) => isDenial) : decisions;
      if (wanted.length === 0) continue;
      if (follower.isSlow) follower.missed += wanted.length;
      else {
        follower.isSlow = !follower.send(
          wanted.map(({ record }) => record),
          follower.missed,
        );
        follower.missed = 0;
      }
    }
  }

  /** Until the stream ends. */
  add(denialsOnly: boolean, stream: MessageStream<never, { records: string[]; dropped: bigint }>): void {
    if (this.#followers.size >= followersMax)
      return stream.end(new CellmeshError('rpc_rate_limited', `${followersMax} others follow already`));
    const send = (records: readonly string[], dropped: number) =>
      stream.send({ records: [...records], dropped: BigInt(dropped) });
    const follower: Follower = { send, denialsOnly, isSlow: false, missed: 0 };
    this.#followers.add(follower);
    stream.onDrain(() => {
      follower.isSlow = false;
    });
    return stream.onEnd(() => this.#followers.delete(follower));
  }
}
