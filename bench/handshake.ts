import type { ChildProcess } from 'node:child_process';
import type { Candidate } from './candidate.ts';
import type { HandshakeRow } from './report.ts';
import { calmOf, median, type Round, type Rounds, tryRound } from './rounds.ts';

const concurrency = 16;

/** New connections by mutual TLS from a foreign client, each with one request, which the inbound hop carries to the backend. */
export async function measureHandshakes(
  foreign: ChildProcess,
  candidates: readonly Candidate[],
  rounds: Rounds,
): Promise<HandshakeRow[]> {
  process.stderr.write(`handshake, ${concurrency} at once\n`);
  const kept = new Map(candidates.map((candidate) => [candidate, [] as Round[]]));
  for (let round = -1; round < rounds.count; round++) {
    for (const [candidate, taken] of kept) {
      const to = await candidate.foreign?.();
      if (to === undefined) {
        kept.delete(candidate);
        continue;
      }
      const order = { kind: 'handshakes', to, path: '/bytes/90', concurrency, durationMs: rounds.millis } as const;
      const one = await tryRound(foreign, candidate, order);
      if (one === undefined) kept.delete(candidate);
      else if (round >= 0) taken.push(one);
    }
  }
  return [...kept].map(([candidate, all]) => {
    const used = calmOf(all);
    return {
      scenario: 'handshake',
      candidate: candidate.name,
      cpuMicrosIn: median(used.map((round) => round.cpuMicrosIn)),
      handshakesPerSecond: median(used.map(({ result }) => (result.requests * 1000) / result.elapsedMs))!,
      p50Millis: median(used.map(({ result }) => result.p50Millis))!,
      p99Millis: median(used.map(({ result }) => result.p99Millis))!,
      rounds: used.length,
      roundsDropped: all.length - used.length,
    };
  });
}
