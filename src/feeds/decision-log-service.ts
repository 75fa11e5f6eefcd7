import { type ServedService, served } from '#api/api-server.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { exportDecisions } from './decision-export.ts';
import { DecisionFollowers } from './decision-followers.ts';
import type { DecisionStore, StoredDecision } from './decision-store.ts';

interface DecisionLogServiceOptions {
  readonly store: DecisionStore;
  /** Reads a record that came over the wire; throws a CellmeshError when it is none. */
  readonly read: (record: string) => StoredDecision;
  readonly logger: Logger;
}

const batchRecordsMax = 5_000;
/** Each holds some pages in memory. */
export const exportsMax = 10;
const idLengthMax = 128;

/** `DecisionLog`, for control planes and identity alike. */
export function decisionLogService({ store, read, logger }: DecisionLogServiceOptions): ServedService {
  const followers = new DecisionFollowers();
  let exports = 0;
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
        // What was reported again is no news.
        followers.tell(store.add(decisions));
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
      followers.add(denialsOnly, stream);
    },
    export(request, stream) {
      if (exports >= exportsMax)
        return stream.end(new CellmeshError('rpc_rate_limited', `${exportsMax} others export already`));
      exports++;
      void exportDecisions(store, request, stream).finally(() => exports--);
    },
  });
}
