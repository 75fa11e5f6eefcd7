import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Candidate } from './candidate.ts';
import type { ForeignOrder } from './foreign-client.ts';
import type { LoadOrder, LoadResult } from './load.ts';
import { cpuMicros, machineTimes, residentMegabytes } from './process-usage.ts';
import type { Row } from './report.ts';
import { call, fields, get, grpcFields, type Scenario } from './scenarios.ts';

export interface Round {
  readonly result: LoadResult;
  readonly cpuMicrosIn: number | undefined;
  readonly cpuMicrosOut: number | undefined;
  readonly isDisturbed: boolean;
}

/** A round with more of the processor's time stolen than this says nothing (see README.md). */
const stealShareMax = 0.04;
const warmUpMs = 4000;
/** Of those that were compiled before: caches, connections, tokens that were seen. */
const warmUpMsOthers = 1000;
/** As many as the compilers want to see, and no more than the slowest candidate can serve. */
const warmUpPerSecond = 3000;

/**
 * Whoever compiles while it runs is measured after it has: a sidecar lives for days. Compilers go by what they have seen, so that requests that come
 * one by one are a thing of its own, and so is the next customer's token.
 */
export async function warmUp(
  load: ChildProcess,
  candidates: readonly Candidate[],
  scenarios: readonly Scenario[],
): Promise<void> {
  for (const candidate of candidates) {
    const taken = scenarios.filter(({ name }) => candidate.isFor?.(name) !== false);
    const isGrpc = ({ request }: Scenario) => request.grpc !== undefined;
    const isOpen = ({ request }: Scenario) => request.perSecond !== undefined;
    const serve = async (request: Scenario['request'], connections: number) => {
      await candidate.refresh?.();
      const durationMs = candidate.compilesAtRunTime ? warmUpMs : warmUpMsOthers;
      await tryRound(load, candidate, orderOf(candidate, request, connections, durationMs));
    };
    if (!taken.every(isGrpc)) await serve(get(90), 32);
    if (taken.some(isOpen)) await serve({ ...get(90), perSecond: warmUpPerSecond }, 32);
    if (taken.some(isGrpc)) await serve(call(1), 1);
  }
}

/** How often each candidate has its turn, and for how long. */
export interface Rounds {
  readonly count: number;
  readonly millis: number;
}

/** All candidates alive at once, short rounds in turn, so that every row is compared under the same weather. */
export async function measure(
  load: ChildProcess,
  candidates: readonly Candidate[],
  scenario: Scenario,
  connections: number,
  rounds: Rounds,
): Promise<Row[]> {
  const orders = new Map<Candidate, LoadOrder>();
  for (const candidate of candidates) {
    await candidate.refresh?.();
    const order = orderOf(candidate, scenario.request, connections, rounds.millis);
    orders.set(candidate, { ...order, ...(await fieldSetsOf(candidate, scenario)) });
  }
  const kept = new Map(candidates.map((candidate) => [candidate, [] as Round[]]));
  for (let round = -1; round < rounds.count; round++) {
    for (const [candidate, rows] of kept) {
      const order = orders.get(candidate)!;
      const isWhole = round >= 0 || candidate.compilesAtRunTime;
      const durationMs = isWhole ? rounds.millis : rounds.millis / 2;
      const taken = await tryRound(load, candidate, { ...order, durationMs });
      if (taken === undefined) kept.delete(candidate);
      else if (round >= 0) rows.push(taken);
    }
  }
  return [...kept].map(([candidate, taken]) => summarise(scenario, candidate, connections, taken));
}

function orderOf(
  candidate: Candidate,
  request: Scenario['request'],
  connections: number,
  durationMs: number,
): LoadOrder {
  const isGrpc = request.grpc !== undefined;
  const target = (isGrpc && candidate.grpcTarget) || candidate.target;
  const own = { ...(isGrpc ? grpcFields : fields), ...candidate.fields };
  return { ...request, ...target, fields: own, connections, durationMs };
}

async function fieldSetsOf(candidate: Candidate, { tokens }: Scenario): Promise<Pick<LoadOrder, 'fieldSets'>> {
  const sets = tokens === undefined ? undefined : await candidate.fieldSets?.(tokens);
  return { fieldSets: sets?.map((set) => ({ ...fields, ...set })) };
}

/**
 * Has a child carry out an order and accounts for what the hops needed for it. Undefined when a request failed, and said so: the others' rows are
 * none the worse for it. `meanwhile` is called once the child has its order.
 */
export async function tryRound(
  load: ChildProcess,
  candidate: Candidate,
  order: LoadOrder | ForeignOrder,
  meanwhile?: () => void,
): Promise<Round | undefined> {
  const before = {
    in: cpuMicros(candidate.inboundPids),
    out: cpuMicros(candidate.outboundPids),
    machine: machineTimes(),
  };
  const answered = once(load, 'message') as Promise<[LoadResult]>;
  await new Promise((resolve) => load.send(order, resolve));
  meanwhile?.();
  const [result] = await answered;
  if (result.failures > 0) {
    process.stderr.write(
      `${candidate.name}: ${result.failures} requests failed; the first answer was:\n${result.firstFailure}\n`,
    );
    return undefined;
  }
  const after = {
    in: cpuMicros(candidate.inboundPids),
    out: cpuMicros(candidate.outboundPids),
    machine: machineTimes(),
  };
  const perRequest = (from: number | undefined, to: number | undefined) =>
    from === undefined || to === undefined ? undefined : (to - from) / result.requests;
  const stolen =
    before.machine && after.machine
      ? (after.machine.steal - before.machine.steal) / (after.machine.total - before.machine.total)
      : 0;
  return {
    result,
    cpuMicrosIn: perRequest(before.in, after.in),
    cpuMicrosOut: perRequest(before.out, after.out),
    isDisturbed: stolen > stealShareMax,
  };
}

function summarise(scenario: Scenario, candidate: Candidate, connections: number, rounds: readonly Round[]): Row {
  const used = calmOf(rounds);
  const pids = [...candidate.inboundPids, ...candidate.outboundPids];
  const hasHops = pids.length > 0;
  return {
    scenario: scenario.name,
    method: scenario.request.method,
    candidate: candidate.name,
    connections,
    cpuMicrosIn: hasHops ? median(used.map((round) => round.cpuMicrosIn)) : null,
    cpuMicrosOut: hasHops ? median(used.map((round) => round.cpuMicrosOut)) : null,
    requestsPerSecond: median(used.map((round) => (round.result.requests * 1000) / round.result.elapsedMs)) ?? 0,
    p50Millis: median(used.map((round) => round.result.p50Millis)) ?? 0,
    p99Millis: median(used.map((round) => round.result.p99Millis)) ?? 0,
    p999Millis: median(used.map((round) => round.result.p999Millis)) ?? 0,
    rssMegabytes: hasHops ? (residentMegabytes(pids) ?? null) : null,
    rounds: used.length,
    roundsDropped: rounds.length - used.length,
  };
}

/** Those that say something; all, where none does. */
export function calmOf(rounds: readonly Round[]): readonly Round[] {
  const calm = rounds.filter((round) => !round.isDisturbed);
  return calm.length > 0 ? calm : rounds;
}

export function median(values: readonly (number | undefined)[]): number | null {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  return sorted.length === 0 ? null : sorted[Math.floor(sorted.length / 2)]!;
}
