import { listAt, valueAt } from '#kubernetes/json.ts';

/** How many of the sidecars that one replica feeds have taken up what is in force. */
export interface Progress {
  /** Of the object that is meant. */
  readonly generation: number;
  readonly subscribers: number;
  readonly programmed: number;
}

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
