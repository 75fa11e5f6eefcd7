import type { ApiClient } from '#api/api-client.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { systemClock } from '#runtime/clock.ts';
import { momentOf } from '../moment.ts';
import { type AuthorityOptions, atControlPlane, atControlPlanes } from '../operator.ts';
import { bytesOnDisk, type DecisionQuery, decisionsOnDisk, storedDecisions } from '../recorded-decisions.ts';
import { ReadingProgress } from './reading-progress.ts';

export interface RecordedOptions extends AuthorityOptions {
  readonly since?: string;
  readonly until?: string;
  readonly service?: string;
}

/** Recorded decisions, and whom to ask about the manifests of then. */
interface RecordedSource {
  readonly records: AsyncIterable<DecisionRecord>;
  /** Where the control plane is asked. */
  readonly client: ApiClient | undefined;
}

/**
 * Decisions of the control plane (`recorded`), or of the rings below a directory, with a line on the terminal that says how far it is.
 * @param needsClient whether the control plane is asked for something else, wherever the records are
 */
export async function withRecorded<T>(
  named: string,
  options: RecordedOptions,
  needsClient: boolean,
  use: (source: RecordedSource) => Promise<T>,
): Promise<T> {
  const query = queryOf(options);
  if (named === 'recorded')
    return await atControlPlanes(options, async (clients) => {
      using progress = new ReadingProgress(process.stderr, systemClock);
      const records = counted(storedDecisions(clients, query), options, progress);
      return await use({ records, client: clients[0] });
    });
  const total = await bytesOnDisk(named);
  using progress = new ReadingProgress(process.stderr, systemClock, total);
  const onRead = (characters: number) => progress.read(characters);
  const records = counted(decisionsOnDisk(named, query, onRead), options, progress);
  if (!needsClient) return await use({ records, client: undefined });
  return await atControlPlane(options, (client) => use({ records, client }));
}

function queryOf({ since, until }: RecordedOptions): DecisionQuery {
  const nowMs = systemClock.now();
  return {
    sinceMs: since === undefined ? undefined : momentOf(since, '--since', nowMs),
    untilMs: until === undefined ? undefined : momentOf(until, '--until', nowMs),
  };
}

async function* counted(
  records: AsyncIterable<DecisionRecord>,
  { service }: RecordedOptions,
  progress: ReadingProgress,
): AsyncGenerator<DecisionRecord, void, undefined> {
  for await (const record of records) {
    progress.decision();
    if (service === undefined || concerns(record, service)) yield record;
  }
}

/** Whether a service was asked, or asked another. */
function concerns({ direction, service, callee, peer }: DecisionRecord, name: string): boolean {
  if (direction === 'edge') return callee?.endsWith(` ${name}`) === true;
  const [namespace, account] = name.split('/');
  return service === name || callee === name || peer?.endsWith(`/ns/${namespace}/sa/${account}`) === true;
}
