import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Candidate } from './candidate.ts';
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
    const before = residentMegabytes(candidate.inboundPids);
    const out = residentMegabytes(candidate.outboundPids);
    const to = await candidate.foreign();
    await tell(foreign, { kind: 'open', to, connections });
    await delay(settleMs);
    const after = residentMegabytes(candidate.inboundPids);
    const { open } = await tell(foreign, { kind: 'close' });
    if (open < connections) process.stderr.write(`${candidate.name} closed ${connections - open} idle connections\n`);
    rows.push({
      scenario: 'idle',
      candidate: candidate.name,
      megabytesIn: before ?? null,
      megabytesOut: out ?? null,
      connections: open,
      megabytesInWithConnections: after ?? null,
      kilobytesPerConnection:
        before === undefined || after === undefined ? null : ((after - before) * 1024) / Math.max(1, open),
    });
  }
  return rows;
}

async function tell(foreign: ChildProcess, order: ForeignOrder): Promise<{ readonly open: number }> {
  foreign.send(order);
  const [answer] = (await once(foreign, 'message')) as [{ open: number } | { error: string }];
  if ('error' in answer) throw new Error(`the foreign client: ${answer.error}`);
  return answer;
}
