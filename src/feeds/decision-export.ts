import type { ExportRequest } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import type { MessageStream } from '#api/message-stream.ts';
import type { DecisionFilter, DecisionStore } from './decision-store.ts';

/** Read at once, whatever the filter lets through: a page is a few hundred kilobytes and holds up nobody for more than a few milliseconds. */
const pageSequences = 500;

interface Page {
  readonly records: string[];
}

/** Sends what is stored now, a page at a time: the next one is read when there is room for it and others have had their turn. */
export async function exportDecisions(
  store: Pick<DecisionStore, 'bounds' | 'range'>,
  request: Pick<ExportRequest, 'sinceMs' | 'untilMs' | 'denialsOnly' | 'peer'>,
  stream: MessageStream<never, Page>,
): Promise<void> {
  let isOver = false;
  let wake = () => {};
  stream.onDrain(() => wake());
  stream.onEnd(() => {
    isOver = true;
    wake();
  });
  const bounds = store.bounds();
  const last = bounds?.last ?? -1;
  const filter = filterOf(request);
  try {
    for (let first = bounds?.first ?? 0; first <= last && !isOver; first += pageSequences) {
      const records = [...store.range(first, Math.min(last, first + pageSequences - 1), filter)];
      const hasRoom = records.length === 0 || stream.send({ records });
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (hasRoom || isOver) setImmediate(resolve);
      });
    }
    stream.end();
  } catch (error) {
    stream.end(error as Error);
  }
}

function filterOf({ sinceMs, untilMs, denialsOnly, peer }: Parameters<typeof exportDecisions>[1]): DecisionFilter {
  return {
    sinceMs: Number(sinceMs ?? 0n),
    untilMs: Number(untilMs ?? BigInt(Number.MAX_SAFE_INTEGER)),
    ...{ denialsOnly, peer },
  };
}
