import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Backend, Candidate } from './candidate.ts';
import { startCellmesh } from './candidates/cellmesh.ts';
import { startDirect } from './candidates/direct.ts';
import { equalWork, startEnvoy, startEnvoyAtEqualWork } from './candidates/envoy.ts';
import { startHaproxy } from './candidates/haproxy.ts';
import { startNginx } from './candidates/nginx.ts';
import type { LoadOrder, LoadResult } from './load.ts';
import { pin } from './pin.ts';
import { cpuMicros, machineTimes, residentMegabytes } from './process-usage.ts';
import { type Row, table, writeResults } from './report.ts';

interface Scenario {
  readonly name: string;
  readonly connections: readonly number[];
  readonly request: Pick<LoadOrder, 'method' | 'path' | 'bodyBytes' | 'perSecond'>;
}

interface Round {
  readonly result: LoadResult;
  readonly cpuMicrosIn: number | undefined;
  readonly cpuMicrosOut: number | undefined;
  readonly isDisturbed: boolean;
}

/** A round with more of the processor's time stolen than this says nothing (see README.md). */
const stealShareMax = 0.04;

const scenarios: readonly Scenario[] = [
  { name: 'proxy', connections: [1, 8, 32, 128], request: get(90) },
  { name: equalWork, connections: [1, 32, 128], request: get(90) },
  ...[1000, 2000, 4000].map((perSecond) => ({
    name: `rate-${perSecond}`,
    connections: [32],
    request: { ...get(90), perSecond },
  })),
  { name: 'body-8k', connections: [16], request: get(8192) },
  { name: 'body-8k', connections: [16], request: post(8192) },
  { name: 'body-64k', connections: [16], request: get(65_536) },
  { name: 'body-64k', connections: [16], request: post(65_536) },
  { name: 'body-1m', connections: [4], request: get(1_048_576) },
  { name: 'body-1m', connections: [4], request: post(1_048_576) },
];

function get(bytes: number): Scenario['request'] {
  return { method: 'GET', path: `/bytes/${bytes}`, bodyBytes: 0 };
}

/** Answered with a few bytes. */
function post(bytes: number): Scenario['request'] {
  return { method: 'POST', path: '/bytes/90', bodyBytes: bytes };
}

type Starter = (backend: Backend) => Promise<Candidate | undefined>;
const starters: Readonly<Record<string, readonly Starter[]>> = {
  direct: [startDirect],
  nginx: [startNginx],
  haproxy: [startHaproxy],
  envoy: [startEnvoy, startEnvoyAtEqualWork],
  cellmesh: [startCellmesh],
};

/** A request of ordinary size: ten fields, about 500 bytes. */
const fields = {
  'user-agent': 'bench/1.0 (load generator; keep-alive)',
  accept: 'application/json, text/plain;q=0.9, */*;q=0.8',
  'accept-language': 'en-US,en;q=0.9',
  'content-type': 'application/json',
  'x-request-id': '6f0f1c1e-3b5c-4a53-9c62-5c7d5a0c2f11',
  'x-client-version': '2026.11.24-1',
  'x-feature-flags': 'alpha=1,beta=0,gamma=control',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  'cache-control': 'no-cache',
};

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean' },
      scenario: { type: 'string' },
      rounds: { type: 'string' },
      candidate: { type: 'string', multiple: true },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 4 : 8));
  const chosen = scenarios.filter((scenario) => values.scenario === undefined || scenario.name === values.scenario);
  await using backend = await startBackend();
  const candidates: Candidate[] = [];
  await using stack = new AsyncDisposableStack();
  for (const [name, starts] of Object.entries(starters)) {
    if (values.candidate?.includes(name) === false) continue;
    for (const start of starts) {
      const candidate = await start(backend);
      if (candidate === undefined) continue;
      candidates.push(stack.use(candidate));
      pin([...candidate.inboundPids, ...candidate.outboundPids], 0);
    }
  }
  const load = fork(join(import.meta.dirname, 'load.ts'));
  stack.defer(() => load.disconnect());
  pin([process.pid, load.pid!], 1);

  await warmUp(load, candidates);
  const rows: Row[] = [];
  for (const scenario of chosen) {
    const connectionCounts = values.quick
      ? scenario.connections.filter((count) => count !== 8 && count !== 128)
      : scenario.connections;
    for (const connections of connectionCounts) {
      process.stderr.write(`${scenario.name}, ${scenario.request.method}, ${connections} connections\n`);
      for (const candidate of candidates) await candidate.refresh?.();
      const taking = candidates.filter(({ isFor }) => isFor?.(scenario.name) !== false);
      rows.push(...(await measure(load, taking, scenario, connections, rounds)));
    }
  }
  const facts = {
    node: process.version,
    processor: cpus()[0]?.model,
    cores: cpus().length,
    takenAt: new Date().toISOString(),
  };
  const file = writeResults(join(import.meta.dirname, 'results'), rows, facts);
  process.stdout.write(`${table(rows)}\n\nwritten to ${file}\n`);
}

/** Whoever compiles while it runs is measured after it has: a sidecar lives for days. */
async function warmUp(load: ChildProcess, candidates: readonly Candidate[]): Promise<void> {
  for (const candidate of candidates) await takeRound(load, candidate, orderOf(candidate, get(90), 32, 4000));
}

function orderOf(
  candidate: Candidate,
  request: Scenario['request'],
  connections: number,
  durationMs: number,
): LoadOrder {
  return { ...request, ...candidate.target, fields: { ...fields, ...candidate.fields }, connections, durationMs };
}

/** All candidates alive at once, one-second rounds in turn, so that every row is compared under the same weather. */
async function measure(
  load: ChildProcess,
  candidates: readonly Candidate[],
  scenario: Scenario,
  connections: number,
  rounds: number,
): Promise<Row[]> {
  const kept = new Map(candidates.map((candidate) => [candidate, [] as Round[]]));
  for (let round = -1; round < rounds; round++) {
    for (const candidate of candidates) {
      const rows = kept.get(candidate);
      if (rows === undefined) continue;
      try {
        const taken = await takeRound(load, candidate, orderOf(candidate, scenario.request, connections, 1000));
        if (round >= 0) rows.push(taken);
      } catch (error) {
        // The others' rows are none the worse for it.
        process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
        kept.delete(candidate);
      }
    }
  }
  return [...kept].map(([candidate, taken]) => summarise(scenario, candidate, connections, taken));
}

async function takeRound(load: ChildProcess, candidate: Candidate, order: LoadOrder): Promise<Round> {
  const before = {
    in: cpuMicros(candidate.inboundPids),
    out: cpuMicros(candidate.outboundPids),
    machine: machineTimes(),
  };
  load.send(order);
  const [result] = (await once(load, 'message')) as [LoadResult];
  if (result.failures > 0)
    throw new Error(
      `${candidate.name}: ${result.failures} requests failed; the first answer was:\n${result.firstFailure}`,
    );
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
  const calm = rounds.filter((round) => !round.isDisturbed);
  const used = calm.length > 0 ? calm : rounds;
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

function median(values: readonly (number | undefined)[]): number | null {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  return sorted.length === 0 ? null : sorted[Math.floor(sorted.length / 2)]!;
}

async function startBackend(): Promise<Backend> {
  const child = fork(join(import.meta.dirname, 'backend.ts'));
  pin([child.pid!], 1);
  const [message] = (await once(child, 'message')) as [{ port: number }];
  return {
    port: message.port,
    async [Symbol.asyncDispose]() {
      child.disconnect();
    },
  };
}

await main();
