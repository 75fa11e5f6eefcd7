import type { ChildProcess } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import type { Backend, Candidate } from './candidate.ts';
import { startCellmesh } from './candidates/cellmesh.ts';
import type { LoadOrder } from './load.ts';
import { pin } from './pin.ts';
import type { WorkersRow } from './report.ts';
import { calmOf, median, type Round, type Rounds, tryRound } from './rounds.ts';

const connections = 16;
const streams = 8;
const fieldCount = 110;
/** Before rounds are counted: each thread compiles for itself. */
const warmUpMs = 3000;
/** In which the control plane takes the denials of a round. */
const breakMs = 1000;

interface Contender {
  readonly name: string;
  /** Of each of its sidecars. */
  readonly threads: number;
  /** Each has a share of the connections and a load generator of its own; the first hop is what works. */
  readonly pairs: readonly Candidate[];
  readonly taken: Round[];
}

/**
 * Sidecars with one thread and with `workers`, and as many sidecars with one thread each, which share nothing but the machine: what it gives to so many.
 * All are tied to no processor. What keeps the first hop busy costs the load generator next to nothing, so that two processors have room for two threads: heads of
 * some 110 fields, none of which is in a table of HPACK, which it reads, decides about and answers by itself. The control planes, in this process, stand still meanwhile.
 */
export async function measureWorkers(
  loads: readonly ChildProcess[],
  backend: Backend,
  workers: number,
  rounds: Rounds,
): Promise<WorkersRow[]> {
  process.stderr.write(`workers, 1 and ${workers}\n`);
  await using stack = new AsyncDisposableStack();
  const start = async (threads: number) => {
    const settings = { workers: String(threads) };
    const pair = stack.use(await startCellmesh(backend, { name: `cellmesh-${threads}-workers`, settings }));
    // They begin where this process is tied to.
    pin([...pair.inboundPids, ...pair.outboundPids], 'any');
    return pair;
  };
  const singles: Candidate[] = [];
  while (singles.length < workers) singles.push(await start(1));
  const one: Contender = { name: 'one thread', threads: 1, pairs: singles.slice(0, 1), taken: [] };
  const many: Contender = { name: 'threads', threads: workers, pairs: [await start(workers)], taken: [] };
  const apart: Contender = { name: 'processes', threads: 1, pairs: singles, taken: [] };
  const contenders = [one, many, apart];
  for (let round = -1; round < rounds.count; round++) {
    const millis = round < 0 ? warmUpMs : rounds.millis;
    for (const { pairs, taken } of contenders) {
      const all = await tryTogether(loads, pairs, millis);
      if (round >= 0 && all !== undefined) taken.push(all);
      await setTimeout(breakMs);
    }
  }
  const rates = contenders.map(({ taken }) => median(calmOf(taken).map(requestsPerSecond))!);
  return contenders.map(({ name, threads, pairs, taken }, index) => {
    const used = calmOf(taken);
    return {
      scenario: 'workers',
      candidate: name,
      threads,
      sidecars: pairs.length,
      cpuMicrosOut: median(used.map(({ cpuMicrosOut }) => cpuMicrosOut)),
      requestsPerSecond: rates[index]!,
      timesOne: rates[index]! / rates[0]!,
      rounds: used.length,
      roundsDropped: taken.length - used.length,
    };
  });
}

/** One round of several pairs at once, as if they were one; undefined when one of them failed. */
async function tryTogether(loads: readonly ChildProcess[], pairs: readonly Candidate[], millis: number) {
  const share = connections / pairs.length;
  const rounds = await Promise.all(
    pairs.map((pair, index) => {
      const isLast = index === pairs.length - 1;
      const order = orderFor(pair.target.port, Math.ceil(share), millis);
      return tryRound(loads[index]!, pair, order, isLast ? () => standStill(millis) : undefined);
    }),
  );
  return rounds.every((round) => round !== undefined) ? together(rounds) : undefined;
}

function together(rounds: readonly Round[]): Round {
  const requests = rounds.reduce((sum, { result }) => sum + result.requests, 0);
  const cpu = rounds.reduce((sum, { result, cpuMicrosOut }) => sum + (cpuMicrosOut ?? 0) * result.requests, 0);
  const elapsedMs = Math.max(...rounds.map(({ result }) => result.elapsedMs));
  return {
    result: { ...rounds[0]!.result, requests, elapsedMs },
    cpuMicrosIn: undefined,
    cpuMicrosOut: rounds[0]!.cpuMicrosOut === undefined ? undefined : cpu / requests,
    isDisturbed: rounds.some(({ isDisturbed }) => isDisturbed),
  };
}

function requestsPerSecond({ result }: Round): number {
  return (result.requests * 1000) / result.elapsedMs;
}

/** To a host that no manifest declares. */
function orderFor(port: number, connections: number, durationMs: number): LoadOrder {
  const fields = Object.fromEntries(Array.from({ length: fieldCount }, (_, n) => [`x-field-${n}`, `${n}`]));
  return {
    ...{ port, host: 'nobody.example', path: '/bench.Bench/Call', method: 'POST', bodyBytes: 0, fields },
    ...{ grpc: { streams, messages: 0, isLiteral: true }, connections, durationMs },
  };
}

function standStill(millis: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis);
}
