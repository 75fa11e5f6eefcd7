import type { Candidate } from './candidate.ts';
import type { StartRow } from './report.ts';
import { median } from './rounds.ts';

/** How long an inbound hop needs from the start of its process until it serves; one after the other, candidates in turn. */
export async function measureStarts(candidates: readonly Candidate[], count: number): Promise<StartRow[]> {
  process.stderr.write(`start, ${count} times\n`);
  const taken = new Map<string, { candidate: string; from: string; millis: number[] }>();
  for (let start = 0; start < count; start++) {
    for (const candidate of candidates) {
      for (const [from, millis] of Object.entries((await candidate.timeStart?.()) ?? {})) {
        const key = `${candidate.name} ${from}`;
        if (!taken.has(key)) taken.set(key, { candidate: candidate.name, from, millis: [] });
        taken.get(key)!.millis.push(millis);
      }
    }
  }
  return [...taken.values()].map(({ candidate, from, millis }) => ({
    scenario: 'start',
    candidate,
    from,
    medianMillis: median(millis)!,
    slowestMillis: Math.max(...millis),
    starts: millis.length,
  }));
}
