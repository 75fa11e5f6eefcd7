import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { plot } from './plot.ts';

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

/** An inbound hop from the start of its process until it serves. */
export interface StartRow {
  readonly scenario: 'start';
  readonly candidate: string;
  /** What it had when it started. */
  readonly from: string;
  readonly medianMillis: number;
  readonly slowestMillis: number;
  readonly starts: number;
}

/** Resident memory (2^20 bytes) of hops without load. */
export interface IdleRow {
  readonly scenario: 'idle';
  readonly candidate: string;
  readonly megabytesIn: number | null;
  readonly megabytesOut: number | null;
  /** Idle ones at the inbound hop, from a client that is none of the pair. */
  readonly connections: number;
  readonly megabytesInWithConnections: number | null;
  /** 1024 bytes; what the inbound hop grew by, divided. */
  readonly kilobytesPerConnection: number | null;
}

/** Connections with one request each; CPU in microseconds for each at the inbound hop. */
export interface HandshakeRow {
  readonly scenario: 'handshake';
  readonly candidate: string;
  readonly cpuMicrosIn: number | null;
  readonly handshakesPerSecond: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
  readonly rounds: number;
  readonly roundsDropped: number;
}

/** Requests that the outbound hop answers by itself; CPU in microseconds for each. */
export interface WorkersRow {
  readonly scenario: 'workers';
  readonly candidate: string;
  /** Of each sidecar. */
  readonly threads: number;
  readonly sidecars: number;
  readonly cpuMicrosOut: number | null;
  readonly requestsPerSecond: number;
  /** Requests a second of all together, by those of one thread. */
  readonly timesOne: number;
  readonly rounds: number;
  readonly roundsDropped: number;
}

export type Facts = Readonly<Record<string, string | number | undefined>>;

export interface Results {
  readonly start: StartRow[];
  readonly idle: IdleRow[];
  readonly handshake: HandshakeRow[];
  readonly workers: WorkersRow[];
  readonly rows: Row[];
}

const titles: Readonly<Record<string, string>> = {
  connections: 'conns',
  cpuMicrosIn: 'cpu in us',
  cpuMicrosOut: 'cpu out us',
  requestsPerSecond: 'req/s',
  handshakesPerSecond: 'handshakes/s',
  p50Millis: 'p50 ms',
  p99Millis: 'p99 ms',
  p999Millis: 'p99.9 ms',
  rssMegabytes: 'rss MB',
  roundsDropped: 'dropped',
  timesOne: 'x one',
  medianMillis: 'median ms',
  slowestMillis: 'slowest ms',
  megabytesIn: 'in MB',
  megabytesOut: 'out MB',
  megabytesInWithConnections: 'in MB with conns',
  kilobytesPerConnection: 'KB per conn',
};

/** The machine, what was measured on it, and when; then every kind of row as a table of its own. */
export function describe(facts: Facts, results: Results): string {
  const tables = (Object.values(results) as object[][]).filter((rows) => rows.length > 0).map((rows) => table(rows));
  return `${[Object.values(facts).join(', '), ...tables].join('\n\n')}\n`;
}

function table(rows: readonly object[]): string {
  const lines = [
    Object.keys(rows[0]!).map((key) => titles[key] ?? key),
    ...rows.map((row) => (Object.values(row) as (string | number | null)[]).map(text)),
  ];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) => line.map((cell, column) => cell.padStart(widths[column]!)).join('  ')).join('\n');
}

/** Returns the files that it wrote. */
export function writeResults(directory: string, facts: Facts, results: Results): readonly string[] {
  mkdirSync(directory, { recursive: true });
  const contents = {
    'latest.json': `${JSON.stringify({ ...facts, ...results }, null, 2)}\n`,
    'latest.txt': describe(facts, results),
    'latest.svg': plot(results.rows),
  };
  return Object.entries(contents).map(([name, content]) => {
    const file = join(directory, name);
    writeFileSync(file, content);
    return file;
  });
}

function text(value: string | number | null): string {
  if (value === null) return '-';
  if (typeof value === 'string') return value;
  return Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 2 : 1);
}
