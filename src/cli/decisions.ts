import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { systemClock } from '#runtime/clock.ts';
import { momentOf } from './moment.ts';
import { type AuthorityOptions, atControlPlanes, withAuthority } from './operator.ts';
import { type DecisionQuery, decisionsOnDisk, storedDecisions } from './recorded-decisions.ts';

interface ExportOptions extends AuthorityOptions {
  readonly since?: string;
  readonly until?: string;
  readonly denialsOnly?: boolean;
  readonly from?: string;
}

/** Recorded decisions, many at once. */
export function addDecisions(program: Command): void {
  const decisions = program
    .command('decisions')
    .summary('recorded decisions, many at once')
    .description('Recorded decisions, many at once; `cellmesh explain` says more of a single one.');
  withAuthority(
    decisions
      .command('export')
      .description(
        'Prints recorded decisions as JSON, one a line: those that the control plane stores, in the order in which they came there; in a cluster those of all its replicas.',
      )
      .option('--since <when>', 'not before: RFC 3339, or how long ago (30m, 7d)')
      .option('--until <when>', 'before')
      .option('--denials-only', 'without what was permitted')
      .option('--from <dir>', 'read the rings (decisions-*.jsonl) below a directory instead'),
    'control plane',
  ).action(async (options: ExportOptions) => {
    const query = queryOf(options, systemClock.now());
    if (options.from !== undefined) await write(decisionsOnDisk(options.from, query));
    else await atControlPlanes(options, (clients) => write(storedDecisions(clients, query)));
  });
}

/** As fast as standard output takes them; whoever has read enough may close it. */
async function write(records: AsyncIterable<DecisionRecord>): Promise<void> {
  const lines = async function* () {
    for await (const record of records) yield `${JSON.stringify(record)}\n`;
  };
  await pipeline(Readable.from(lines()), process.stdout, { end: false }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

function queryOf({ since, until, denialsOnly }: ExportOptions, nowMs: number): DecisionQuery {
  return {
    sinceMs: since === undefined ? undefined : momentOf(since, '--since', nowMs),
    untilMs: until === undefined ? undefined : momentOf(until, '--until', nowMs),
    denialsOnly,
  };
}
