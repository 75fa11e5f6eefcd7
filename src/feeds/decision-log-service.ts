import { type ServedService, served } from '#api/api-server.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { exportDecisions } from './decision-export.ts';
import type { DecisionStore, StoredDecision } from './decision-store.ts';

interface DecisionLogServiceOptions {
  readonly store: DecisionStore;
  /** Reads a record that came over the wire; throws a CellmeshError when it is none. */
  readonly read: (record: string) => StoredDecision;
  readonly logger: Logger;
}

const batchRecordsMax = 5_000;
const followersMax = 20;
const idLengthMax = 128;

/** A follower on a slow terminal misses lines and is told how many, instead of filling our memory. */
interface Follower {
  readonly send: (records: readonly string[], dropped: number) => boolean;
  readonly denialsOnly: boolean;
  isSlow: boolean;
  missed: number;
}

/** `DecisionLog`, for control planes and identity alike. */
export function decisionLogService({ store, read, logger }: DecisionLogServiceOptions): ServedService {
  const followers = new Set<Follower>();
  const accept = (received: readonly StoredDecision[]) => {
    // What was reported again is no news.
    const decisions = store.add(received);
    for (const follower of followers) {
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
  };
  return served(DecisionLog, {
    report(stream, caller) {
      stream.onMessage(({ sequence, records, dropped }) => {
        if (records.length > batchRecordsMax)
          return stream.end(new CellmeshError('decision_invalid', `a batch has more than ${batchRecordsMax} records`));
        const decisions: StoredDecision[] = [];
        for (const record of records) {
          try {
            decisions.push(read(record));
          } catch (error) {
            logger.warn('a decision record is refused', { peer: caller.peer?.id, error });
          }
        }
        accept(decisions);
        if (dropped > 0n)
          logger.warn('decisions were lost before they came here', { peer: caller.peer?.id, count: Number(dropped) });
        return void stream.send({ sequence });
      });
      stream.onEnd(() => stream.end());
    },
    async find({ id }) {
      return { record: (id.length <= idLengthMax && store.find(id)) || '' };
    },
    follow({ denialsOnly }, stream) {
      if (followers.size >= followersMax)
        return stream.end(new CellmeshError('rpc_rate_limited', `${followersMax} others follow already`));
      const send = (records: readonly string[], dropped: number) =>
        stream.send({ records: [...records], dropped: BigInt(dropped) });
      const follower: Follower = { send, denialsOnly, isSlow: false, missed: 0 };
      followers.add(follower);
      stream.onDrain(() => {
        follower.isSlow = false;
      });
      return stream.onEnd(() => followers.delete(follower));
    },
    export(request, stream) {
      void exportDecisions(store, request, stream);
    },
  });
}
