import { listAt, numberAt, textsAt, valueAt } from '#kubernetes/json.ts';

/** How many of the sidecars that one replica feeds have taken up what is in force. */
export interface Progress {
  /** Of the object that is meant. */
  readonly generation: number;
  readonly subscribers: number;
  readonly programmed: number;
}

/** Which trust bundle a replica hands out, and who of those that it feeds has not taken it. */
export interface BundleProgress {
  /** Of the bundle. */
  readonly sequence: number;
  readonly behind: number;
  /** Some of them. */
  readonly names: readonly string[];
}

/** A ConfigMap with those of thousands would be too long. */
const namesMax = 20;

/** By the uid of the object; those that nobody is subscribed for are left out. */
export type ReplicaReport = ReadonlyMap<string, Progress>;

export function serializeReport(report: ReplicaReport): string {
  const entries = [...report].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(
    Object.fromEntries(
      entries.map(([uid, { generation, subscribers, programmed }]) => [uid, [generation, subscribers, programmed]]),
    ),
  );
}

export function serializeBundleProgress(sequence: number, behind: readonly string[]): string {
  return JSON.stringify({ sequence, behind: behind.length, names: behind.slice(0, namesMax) });
}

/** What cannot be read counts as a replica that has heard of nothing. */
export function parseBundleProgress(text: string): BundleProgress {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    document = undefined;
  }
  const names = textsAt(document, 'names');
  const behind = numberAt(document, 'behind') ?? 0;
  return { sequence: numberAt(document, 'sequence') ?? -1, behind: Math.max(behind, names.length), names };
}

/** What cannot be read counts for nothing. */
export function parseReport(text: string): ReplicaReport {
  const report = new Map<string, Progress>();
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return report;
  }
  for (const uid of Object.keys(Object(document ?? {}))) {
    const numbers = listAt(document, uid);
    const [generation, subscribers, programmed] = numbers;
    if (Array.isArray(valueAt(document, uid)) && numbers.every(Number.isSafeInteger))
      report.set(uid, { generation, subscribers, programmed } as Progress);
  }
  return report;
}

/** Of one object, over all replicas: those that have another generation in force feed nobody with this one. */
export function progressOf(reports: Iterable<ReplicaReport>, uid: string, generation: number | undefined): Progress {
  let [subscribers, programmed] = [0, 0];
  for (const report of reports) {
    const one = report.get(uid);
    subscribers += one?.subscribers ?? 0;
    if (one?.generation === generation) programmed += one?.programmed ?? 0;
  }
  return { generation: generation ?? 0, subscribers, programmed };
}
