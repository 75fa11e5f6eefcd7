import type { ChildProcess } from 'node:child_process';
import type { Backend } from './candidate.ts';
import { startCellmesh } from './candidates/cellmesh.ts';
import type { LoadOrder } from './load.ts';
import { pin } from './pin.ts';
import type { WorkersRow } from './report.ts';
import { calmOf, median, type Round, type Rounds, tryRound } from './rounds.ts';

const connections = 64;
const fieldCount = 60;
const fieldValue = 'v'.repeat(200);

/**
 * Pairs with one thread and with `workers`, tied to no processor. What keeps the first hop busy costs the load generator next to nothing, so that two
 * processors have room for two threads: heads of 12 KiB, which it reads, decides about and answers by itself.
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
  for (let round = -2; round < rounds.count; round++) {
    for (const [count, pair] of pairs) {
      const one = await tryRound(load, pair, orderFor(pair.target.port, rounds.millis));
      if (round >= 0 && one !== undefined) taken.get(count)!.push(one);
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
  const fields = Object.fromEntries(Array.from({ length: fieldCount }, (_, n) => [`x-field-${n}`, fieldValue]));
  return {
    ...{ port, host: 'nobody.example', path: '/', method: 'GET', bodyBytes: 0, fields, connections, durationMs },
    status: 403,
  };
}
