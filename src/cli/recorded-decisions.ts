import { glob, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ApiClient } from '#api/api-client.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { readRingLines } from '#feeds/decision-ring.ts';
import { type DecisionRecord, parseDecisionRecord } from '#policy/decision-record.ts';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';

/** Which decisions are meant; what is absent bounds nothing. */
export interface DecisionQuery {
  /** Milliseconds since the epoch: decided then or later. */
  readonly sinceMs?: number | undefined;
  /** Decided before. */
  readonly untilMs?: number | undefined;
  readonly denialsOnly?: boolean | undefined;
  /** As records name it. */
  readonly peer?: string | undefined;
}

/**
 * What a control plane (or identity) has stored, in the order in which it came there. However much there is, a few pages are in memory: the
 * server waits for whoever reads. Leaving the loop ends the call.
 * @throws CellmeshError as `ApiClient.call`; `decision_invalid` for a record of a newer schema
 */
async function* storedBy(
  client: ApiClient,
  { sinceMs, untilMs, denialsOnly = false, peer }: DecisionQuery,
): AsyncGenerator<DecisionRecord, void, undefined> {
  const request = {
    ...(sinceMs === undefined ? {} : { sinceMs: BigInt(sinceMs) }),
    ...(untilMs === undefined ? {} : { untilMs: BigInt(untilMs) }),
    denialsOnly,
    ...(peer !== undefined && { peer }),
  };
  for await (const { records } of client.read(DecisionLog.method.export, request)) {
    for (const record of records) yield parseDecisionRecord(record);
  }
}

/**
 * What several replicas have stored, by the time of deciding as far as each has it in that order. What was told to two of them, which happens
 * when a sidecar changes from one to the other, comes once.
 * @throws CellmeshError as `storedBy`
 */
export async function* storedDecisions(
  clients: readonly ApiClient[],
  query: DecisionQuery,
): AsyncGenerator<DecisionRecord, void, undefined> {
  const [first, ...others] = clients;
  if (first !== undefined && others.length === 0) return yield* storedBy(first, query);
  const sources = clients.map((client) => storedBy(client, query));
  try {
    yield* mergedByTime(sources);
  } finally {
    for (const source of sources) await source.return();
  }
}

/** Merges what is in order by time; of neighbours with one id the first. */
async function* mergedByTime(
  sources: readonly AsyncIterator<DecisionRecord>[],
): AsyncGenerator<DecisionRecord, void, undefined> {
  const heads = await Promise.all(sources.map((source) => source.next()));
  for (let last: DecisionRecord | undefined; ; ) {
    let first = -1;
    for (const [at, head] of heads.entries()) {
      if (head.done === true) continue;
      const best = heads[first];
      if (best === undefined || best.done === true || head.value.time < best.value.time) first = at;
    }
    const head = heads[first];
    if (head === undefined || head.done === true) return;
    if (head.value.id !== last?.id) yield head.value;
    last = head.value;
    heads[first] = await sources[first]!.next();
  }
}

/**
 * What sidecars and routers wrote down: all rings (`decisions-*.jsonl`) in a directory and below, ring by ring, each in its order; line by line,
 * however much there is. Torn and foreign lines are passed over.
 * @param onRead is told how many characters more are read, whatever they mean: of the bytes that `bytesOnDisk` counts
 * @throws CellmeshError `not_found`: there is no ring
 */
export async function* decisionsOnDisk(
  directory: string,
  query: DecisionQuery,
  onRead: (characters: number) => void = () => {},
): AsyncGenerator<DecisionRecord, void, undefined> {
  const rings = new Set<string>();
  for await (const file of glob('**/decisions-*.jsonl', { cwd: directory })) rings.add(dirname(file));
  if (rings.size === 0) throw new CellmeshError('not_found', `no decisions-*.jsonl lie in ${directory} or below`);
  for (const ring of [...rings].sort()) {
    for await (const lines of readRingLines(join(directory, ring))) {
      for (const line of lines) {
        onRead(line.length + 1);
        const record = parseIfRecord(line);
        if (record !== undefined && isMeant(record, query)) yield record;
      }
    }
  }
}

/** The size of all rings in a directory and below. */
export async function bytesOnDisk(directory: string): Promise<number> {
  let bytes = 0;
  for await (const file of glob('**/decisions-*.jsonl', { cwd: directory }))
    bytes += (await stat(join(directory, file))).size;
  return bytes;
}

function parseIfRecord(line: string): DecisionRecord | undefined {
  try {
    return parseDecisionRecord(line);
  } catch (error) {
    if (isCellmeshError(error, 'decision_invalid')) return undefined;
    throw error;
  }
}

function isMeant(record: DecisionRecord, { sinceMs, untilMs, denialsOnly, peer }: DecisionQuery): boolean {
  const { time, outcome } = record;
  if (denialsOnly && outcome !== 'deny') return false;
  if (peer !== undefined && record.peer !== peer) return false;
  if (sinceMs === undefined && untilMs === undefined) return true;
  const timeMs = Date.parse(time);
  return (sinceMs === undefined || timeMs >= sinceMs) && (untilMs === undefined || timeMs < untilMs);
}
