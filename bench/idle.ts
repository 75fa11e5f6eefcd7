import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Candidate, Foreign } from './candidate.ts';
import type { ForeignOrder } from './foreign-client.ts';
import { residentMegabytes } from './process-usage.ts';
import type { IdleRow } from './report.ts';

/** What was begun when a process started or a connection opened is over by then. */
const settleMs = 3_000;

/** Memory of hops that nobody has called yet, and of the inbound one while a foreign client holds connections open and says nothing on them. */
export async function measureIdle(
  foreign: ChildProcess,
  candidates: readonly Candidate[],
  connections: number,
): Promise<IdleRow[]> {
  process.stderr.write(`idle, ${connections} connections\n`);
  await delay(settleMs);
  const rows: IdleRow[] = [];
  for (const candidate of candidates) {
    if (candidate.foreign === undefined) continue;
    try {
      rows.push(await hold(foreign, candidate, await candidate.foreign(), connections));
    } catch (error) {
      process.stderr.write(`${candidate.name}: ${error instanceof Error ? error.message : error}\n`);
      await tell(foreign, { kind: 'close' });
    }
  }
  return rows;
}

async function hold(
  foreign: ChildProcess,
  { name, inboundPids, outboundPids }: Candidate,
  to: Foreign,
  connections: number,
): Promise<IdleRow> {
  const before = residentMegabytes(inboundPids);
  const out = residentMegabytes(outboundPids);
  await tell(foreign, { kind: 'open', to, connections });
  await delay(settleMs);
  const after = residentMegabytes(inboundPids);
  const { open } = await tell(foreign, { kind: 'close' });
  if (open < connections) process.stderr.write(`${name} closed ${connections - open} idle connections\n`);
  const isKnown = before !== undefined && after !== undefined && open > 0;
  return {
    scenario: 'idle',
    candidate: name,
    megabytesIn: before ?? null,
    megabytesOut: out ?? null,
    connections: open,
    megabytesInWithConnections: after ?? null,
    kilobytesPerConnection: isKnown ? ((after - before) * 1024) / open : null,
  };
}

async function tell(foreign: ChildProcess, order: ForeignOrder): Promise<{ readonly open: number }> {
  foreign.send(order);
  const [answer] = (await once(foreign, 'message')) as [{ open: number } | { error: string }];
  if ('error' in answer) throw new Error(`the foreign client: ${answer.error}`);
  return answer;
}
