import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** One line of `bench/results/`: medians over the rounds that were kept. CPU in microseconds per request and hop. */
export interface Row {
  readonly scenario: string;
  readonly method: string;
  readonly candidate: string;
  readonly connections: number;
  readonly cpuMicrosIn: number | null;
  readonly cpuMicrosOut: number | null;
  readonly requestsPerSecond: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
  readonly p999Millis: number;
  readonly rssMegabytes: number | null;
  readonly rounds: number;
  /** Rounds in which more than 4 % of the processor's time went to neighbours of this machine. */
  readonly roundsDropped: number;
}

const columns: readonly (readonly [keyof Row, string])[] = [
  ['scenario', 'scenario'],
  ['method', 'method'],
  ['candidate', 'candidate'],
  ['connections', 'conns'],
  ['cpuMicrosIn', 'cpu in us'],
  ['cpuMicrosOut', 'cpu out us'],
  ['requestsPerSecond', 'req/s'],
  ['p50Millis', 'p50 ms'],
  ['p99Millis', 'p99 ms'],
  ['p999Millis', 'p99.9 ms'],
  ['rssMegabytes', 'rss MB'],
  ['rounds', 'rounds'],
  ['roundsDropped', 'dropped'],
];

export function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => columns.map(([key]) => text(row[key])));
  const lines = [columns.map(([, title]) => title), ...cells];
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) => line.map((cell, column) => cell.padStart(widths[column]!)).join('  ')).join('\n');
}

export function writeResults(
  directory: string,
  rows: readonly Row[],
  facts: Readonly<Record<string, unknown>>,
): string {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'latest.json');
  writeFileSync(file, `${JSON.stringify({ ...facts, rows }, null, 2)}\n`);
  writeFileSync(join(directory, 'latest.txt'), `${table(rows)}\n`);
  return file;
}

function text(value: string | number | null): string {
  if (value === null) return '-';
  if (typeof value === 'string') return value;
  return Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 2 : 1);
}
