import type { ChildProcess } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import type { Backend } from './candidate.ts';
import { startCellmesh } from './candidates/cellmesh.ts';
import type { LoadOrder } from './load.ts';
import { pin } from './pin.ts';
import type { WorkersRow } from './report.ts';
import { calmOf, median, type Round, type Rounds, tryRound } from './rounds.ts';

const connections = 16;
const streams = 8;
const fieldCount = 110;
/** Before rounds are counted: each thread compiles for itself. */
const warmUpMs = 4000;
/** In which the control plane takes the denials of a round. */
const breakMs = 1500;

/**
 * Pairs with one thread and with `workers`, tied to no processor. What keeps the first hop busy costs the load generator next to nothing, so that two
 * processors have room for two threads: heads of 114 fields, none of which is in a table of HPACK, which it reads, decides about and answers by itself. The
 * control planes, in this process, stand still meanwhile.
 */
export async function measureWorkers(
  load: ChildProcess,
  backend: Backend,
  workers: number,
  rounds: Rounds,
): Promise<WorkersRow[]> {
  process.stderr.write(`workers, 1 and ${workers}\n`);
  await using stack = new AsyncDisposableStack();
  const taken = new Map<number, Round[]>();
  const pairs = new Map<number, Awaited<ReturnType<typeof startCellmesh>>>();
  for (const count of [1, workers]) {
    const settings = { workers: String(count) };
    pairs.set(count, stack.use(await startCellmesh(backend, { name: `cellmesh-${count}-workers`, settings })));
    taken.set(count, []);
    // They begin where this process is tied to.
    pin([...pairs.get(count)!.inboundPids, ...pairs.get(count)!.outboundPids], 'any');
  }
  for (let round = -1; round < rounds.count; round++) {
    const millis = round < 0 ? warmUpMs : rounds.millis;
    for (const [count, pair] of pairs) {
      const one = await tryRound(load, pair, orderFor(pair.target.port, millis), () => standStill(millis));
      if (round >= 0 && one !== undefined) taken.get(count)!.push(one);
      await setTimeout(breakMs);
    }
  }
  const rate = (count: number) =>
    median(calmOf(taken.get(count)!).map(({ result }) => (result.requests * 1000) / result.elapsedMs))!;
  return [1, workers].map((count) => {
    const used = calmOf(taken.get(count)!);
    return {
      scenario: 'workers',
      candidate: pairs.get(count)!.name,
      workers: count,
      cpuMicrosOut: median(used.map(({ cpuMicrosOut }) => cpuMicrosOut)),
      requestsPerSecond: rate(count),
      timesOne: rate(count) / rate(1),
      rounds: used.length,
      roundsDropped: taken.get(count)!.length - used.length,
    };
  });
}

/** To a host that no manifest declares. */
function orderFor(port: number, durationMs: number): LoadOrder {
  const fields = Object.fromEntries(Array.from({ length: fieldCount }, (_, n) => [`x-field-${n}`, `${n}`]));
  return {
    ...{ port, host: 'nobody.example', path: '/bench.Bench/Call', method: 'POST', bodyBytes: 0, fields },
    ...{ grpc: { streams, messages: 0, isLiteral: true }, connections, durationMs },
  };
}

function standStill(millis: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis);
}
