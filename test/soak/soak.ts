import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { type HeldMemory, memoryAfterCollection, openIn } from '../support/inspected-process.ts';
import { type LoadPair, startLoadPair } from '../support/load-pair.ts';
import type { SidecarProcess } from '../support/sidecar-process.ts';
import { type Applications, calleeRules, startApplications } from './applications.ts';
import { type Slope, slopeOf } from './memory-slope.ts';
import { type WorkCount, WorkRun } from './run-work.ts';
import { startWorkload } from './work.ts';

export interface SoakOptions {
  /** Of load, the warm-up included. */
  readonly minutes: number;
  /** Told after each sample. */
  readonly onSample?: (sample: Sample) => void;
}

export type Side = 'caller' | 'callee';
export const sides: readonly Side[] = ['caller', 'callee'];

/** Under load, after a collection. */
export interface Sample {
  readonly seconds: number;
  readonly done: number;
  readonly failed: number;
  readonly memory: Readonly<Record<Side, HeldMemory>>;
}

/** What a sidecar holds when nobody uses it. */
export interface AtRest {
  readonly descriptors: number;
  readonly streams: number;
  /** Of applications and of the mesh; see `DataPlane.summary`. */
  readonly inboundConnections: number;
  readonly outboundConnections: number;
  readonly tunnels: number;
  /** To applications, of both sidecars together. */
  readonly applicationConnections: number;
  readonly memory: HeldMemory;
}

export interface SoakReport {
  readonly minutes: number;
  readonly works: readonly WorkCount[];
  readonly errors: readonly string[];
  readonly samples: readonly Sample[];
  /** Of the samples after the warm-up. */
  readonly slopes: Readonly<Record<Side, Readonly<Record<keyof HeldMemory, Slope>>>>;
  /** After each work has run for a while, and at the end: all clients gone. */
  readonly start: Readonly<Record<Side, AtRest>>;
  readonly end: Readonly<Record<Side, AtRest>>;
}

/** Compiled code, pools and tables have grown by then, and tokens have begun to be forgotten. */
const warmUpShare = 0.15;
const samplesWanted = 60;
/** A collection halts a sidecar for a moment: not more often than this. */
const sampleMsMin = 3_000;
/** Connections of the mesh are kept for a minute, tokens live half a minute; twice that is more than either. */
const restMsMax = 120_000;
const firstLoadMs = 5_000;

/** Loads a real pair of sidecars with all that they carry and looks what stays behind. */
export async function soak({ minutes, onSample }: SoakOptions): Promise<SoakReport> {
  await using stack = new AsyncDisposableStack();
  let pair: LoadPair | undefined;
  const applications = stack.use(await startApplications(() => pair!.caller.outbound));
  const { callerPort, httpPort, grpcPort, tcpPort } = applications;
  pair = stack.use(
    await startLoadPair({
      callerPort,
      calleePorts: [
        { port: httpPort, protocol: 'http' },
        { port: grpcPort, protocol: 'grpc' },
        { port: tcpPort, protocol: 'tcp' },
      ],
      allow: calleeRules(applications),
      flags: { settle: '100ms', drain: '1s' },
    }),
  );
  await load(pair, applications, firstLoadMs);
  const start = await atRest(pair, applications);
  const durationMs = minutes * 60_000;
  const { run, samples } = await load(pair, applications, durationMs, onSample);
  const end = await eventually(
    async () => {
      const found = await atRest(pair, applications);
      for (const side of sides) assertNotAbove(side, found[side], start[side]);
      return found;
    },
    restMsMax,
    5_000,
  ).catch(() => atRest(pair, applications));
  const warm = samples.filter(({ seconds }) => seconds * 1000 >= warmUpShare * durationMs);
  return {
    minutes,
    works: run.counts,
    errors: run.errors,
    samples,
    slopes: { caller: slopesOf(warm, 'caller'), callee: slopesOf(warm, 'callee') },
    start,
    end,
  };
}

async function load(
  pair: LoadPair,
  applications: Applications,
  durationMs: number,
  onSample?: (sample: Sample) => void,
): Promise<{ run: WorkRun; samples: Sample[] }> {
  await using workload = startWorkload(pair, applications);
  const run = new WorkRun(workload.works);
  const samples: Sample[] = [];
  const everyMs = Math.max(sampleMsMin, durationMs / samplesWanted);
  const began = performance.now();
  const leftMs = () => durationMs - (performance.now() - began);
  while (leftMs() > 0) {
    await delay(Math.min(everyMs, leftMs()));
    if (onSample === undefined) continue;
    const memory = await memoryOf(pair);
    const sample = { seconds: (performance.now() - began) / 1000, done: run.done, failed: run.failed, memory };
    samples.push(sample);
    onSample(sample);
  }
  await run.stop();
  return { run, samples };
}

async function memoryOf({ caller, callee }: LoadPair): Promise<Record<Side, HeldMemory>> {
  return { caller: await memoryAfterCollection(caller), callee: await memoryAfterCollection(callee) };
}

/** All clients are gone: waits until the sidecars have heard of it. */
async function atRest(pair: LoadPair, applications: Applications): Promise<Record<Side, AtRest>> {
  await eventually(async () => {
    for (const side of sides) {
      const { outboundConnections, tunnels } = await pair[side].counts();
      const open = outboundConnections! + tunnels! + (await applications.connections());
      if (open > 0) throw new Error(`${open} connections are open`);
    }
  }, restMsMax).catch(() => undefined);
  const of = async (sidecar: SidecarProcess): Promise<AtRest> => {
    const counts = await sidecar.counts();
    return {
      ...(await openIn(sidecar)),
      inboundConnections: counts['inboundConnections']!,
      outboundConnections: counts['outboundConnections']!,
      tunnels: counts['tunnels']!,
      applicationConnections: await applications.connections(),
      memory: await memoryAfterCollection(sidecar),
    };
  };
  return { caller: await of(pair.caller), callee: await of(pair.callee) };
}

/** What is open, without the memory: the names of `AtRest` that are to come back to where they were. */
export const openNames = [
  'descriptors',
  'streams',
  'inboundConnections',
  'outboundConnections',
  'tunnels',
  'applicationConnections',
] as const;

function assertNotAbove(side: Side, found: AtRest, start: AtRest): void {
  for (const name of openNames) {
    if (found[name] > start[name]) throw new Error(`${side}: ${found[name]} ${name}, ${start[name]} at the start`);
  }
}

function slopesOf(samples: readonly Sample[], side: Side): Record<keyof HeldMemory, Slope> {
  const of = (name: keyof HeldMemory) =>
    slopeOf(samples.map(({ seconds, memory }) => ({ hours: seconds / 3600, megabytes: memory[side][name] })));
  return {
    heapMegabytes: of('heapMegabytes'),
    externalMegabytes: of('externalMegabytes'),
    residentMegabytes: of('residentMegabytes'),
  };
}
