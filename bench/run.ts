import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeBundle } from '../build/bundle.ts';
import type { Backend, Candidate } from './candidate.ts';
import { startCellmesh } from './candidates/cellmesh.ts';
import { startDirect } from './candidates/direct.ts';
import { startEnvoy, startEnvoyAtEqualWork, startEnvoyForHttp2 } from './candidates/envoy.ts';
import { startHaproxy, startHaproxyForHttp2 } from './candidates/haproxy.ts';
import { startNginx, startNginxForHttp2 } from './candidates/nginx.ts';
import { measureHandshakes } from './handshake.ts';
import { measureIdle } from './idle.ts';
import { giveWay, pin } from './pin.ts';
import { describe, type Results, writeResults } from './report.ts';
import { measure, warmUp } from './rounds.ts';
import { scenarios } from './scenarios.ts';
import { measureStarts } from './start.ts';
import { measureWorkers } from './workers.ts';

type Starter = (backend: Backend) => Promise<Candidate | undefined>;
const starters: Readonly<Record<string, readonly Starter[]>> = {
  direct: [startDirect],
  nginx: [startNginx, startNginxForHttp2],
  haproxy: [startHaproxy, startHaproxyForHttp2],
  envoy: [startEnvoy, startEnvoyAtEqualWork, startEnvoyForHttp2],
  cellmesh: [startCellmesh],
};

const options = {
  quick: { type: 'boolean', default: false },
  scenario: { type: 'string', multiple: true },
  candidate: { type: 'string', multiple: true },
  rounds: { type: 'string' },
  connections: { type: 'string', default: '1000' },
  workers: { type: 'string', default: '2' },
  source: { type: 'boolean', default: false },
} as const;

async function main(): Promise<void> {
  const { values } = parseArgs({ options });
  refuseUnknown('candidate', values.candidate, Object.keys(starters));
  refuseUnknown('scenario', values.scenario, [
    'start',
    'idle',
    'handshake',
    'workers',
    ...scenarios.map(({ name }) => name),
  ]);
  const isChosen = (scenario: string) => values.scenario?.includes(scenario) !== false;
  const rounds = { count: Number(values.rounds ?? (values.quick ? 3 : 8)), millis: values.quick ? 800 : 1000 };
  await chooseCode(values.source);
  await using stack = new AsyncDisposableStack();
  const backend = stack.use(await startBackend());
  const candidates: Candidate[] = [];
  for (const [name, starts] of Object.entries(starters)) {
    if (values.candidate?.includes(name) === false) continue;
    for (const start of starts) {
      const candidate = await start(backend);
      if (candidate === undefined) continue;
      candidates.push(stack.use(candidate));
    }
  }
  const takingPart = (scenario: string) => candidates.filter(({ isFor }) => isFor?.(scenario) !== false);
  const results: Results = { start: [], idle: [], handshake: [], workers: [], rows: [] };
  // Before this process, in which control planes run, is tied to one processor.
  if (isChosen('start')) results.start.push(...(await measureStarts(takingPart('start'), values.quick ? 5 : 15)));

  const startChild = (file: string): ChildProcess => {
    const child = fork(join(import.meta.dirname, file));
    stack.defer(() => child.disconnect());
    return child;
  };
  const [load, foreign] = [startChild('load.ts'), startChild('foreign-client.ts')];
  pin([process.pid, load.pid!, foreign.pid!], 1);
  for (const { inboundPids, outboundPids } of candidates) pin([...inboundPids, ...outboundPids], 0);
  // Before anybody has worked.
  if (isChosen('idle')) {
    results.idle.push(...(await measureIdle(foreign, takingPart('idle'), Number(values.connections))));
  }
  if (isChosen('handshake')) {
    results.handshake.push(...(await measureHandshakes(foreign, takingPart('handshake'), rounds)));
  }
  if (isChosen('workers') && candidates.some(({ name }) => name === 'cellmesh')) {
    const workers = Number(values.workers);
    const loads = [load];
    while (loads.length < workers) loads.push(startChild('load.ts'));
    for (const { pid } of loads) pin([pid!], 1);
    results.workers.push(...(await measureWorkers(loads, backend, workers, rounds)));
  }
  // Not before the last child has started: it would inherit it.
  giveWay();
  const chosen = scenarios.filter(({ name }) => isChosen(name));
  await warmUp(load, candidates, chosen);
  for (const scenario of chosen) {
    for (const connections of (values.quick && scenario.quickConnections) || scenario.connections) {
      process.stderr.write(`${scenario.name}, ${scenario.request.method}, ${connections} connections\n`);
      results.rows.push(...(await measure(load, takingPart(scenario.name), scenario, connections, rounds)));
    }
  }
  const facts = {
    node: process.version,
    processor: cpus()[0]?.model,
    cores: `${cpus().length} cores`,
    takenAt: new Date().toISOString(),
    cellmesh: values.source ? 'cellmesh from its source' : 'cellmesh as built',
  };
  const files = writeResults(join(import.meta.dirname, 'results'), facts, results);
  process.stdout.write(`${describe(facts, results)}\nwritten to ${files.join(', ')}\n`);
}

/** Sidecars are what a package of this checkout would hold, so it is built first; or the source itself. */
async function chooseCode(isSource: boolean): Promise<void> {
  if (!isSource) await writeBundle();
  process.env.CELLMESH_DIST = isSource ? '' : '1';
}

function refuseUnknown(what: string, names: readonly string[] = [], known: readonly string[]): void {
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new Error(`no ${what} ${unknown.join(', ')}; there are ${[...new Set(known)].join(', ')}`);
}

async function startBackend(): Promise<Backend> {
  const child = fork(join(import.meta.dirname, 'backend.ts'));
  pin([child.pid!], 1);
  const [ports] = (await once(child, 'message')) as [{ port: number; grpcPort: number }];
  return {
    ...ports,
    async [Symbol.asyncDispose]() {
      child.disconnect();
    },
  };
}

await main();
