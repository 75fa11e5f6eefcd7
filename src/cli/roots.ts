import { setTimeout as delay } from 'node:timers/promises';
import type { ApiClient } from '#api/api-client.ts';
import { Roots, type RootsState } from '#api/generated/cellmesh/certs/v1/roots_pb.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { distance, table } from './output.ts';

type Asks = <T>(use: (client: ApiClient) => Promise<T>) => Promise<T>;

/** Roots as `--json` shows them. */
export interface RootsReport {
  readonly trustDomain: string;
  readonly sequence: number;
  readonly roots: readonly {
    readonly phase: string;
    readonly serial: string;
    readonly since: string;
    readonly until: string | undefined;
    readonly notBefore: string;
    readonly notAfter: string;
  }[];
  readonly waitsFor: readonly string[];
  readonly waitsUntil: string | undefined;
  readonly rotatesAt: string | undefined;
  readonly intermediate: { readonly serial: string; readonly notAfter: string };
}

const lookEveryMs = 1_000;

export async function showRoots(ask: Asks): Promise<RootsReport> {
  return reportOf(await ask((client) => client.call(Roots.method.show, {})));
}

/**
 * Begins a rotation.
 * @returns what there is once it has begun
 */
export async function rotateRoot(ask: Asks, retireNow: boolean): Promise<RootsReport> {
  return reportOf(await ask((client) => client.call(Roots.method.rotate, { retireNow })));
}

/** Every state that differs from the one before, until one root is left. An authority that is away for a while is waited for. */
export async function* untilRotated(ask: Asks, first: RootsReport): AsyncGenerator<RootsReport, void, undefined> {
  let shown = '';
  for (let report: RootsReport | undefined = first; ; report = await showIfThere(ask)) {
    if (report !== undefined && stateOf(report) !== shown) {
      shown = stateOf(report);
      yield report;
    }
    if (report !== undefined && report.roots.length === 1) return;
    // The clock's own timers do not keep a command running.
    await delay(lookEveryMs);
  }
}

async function showIfThere(ask: Asks): Promise<RootsReport | undefined> {
  try {
    return await showRoots(ask);
  } catch (error) {
    if (isCellmeshError(error) && error.retryable) return undefined;
    throw error;
  }
}

function stateOf({ roots, waitsFor }: RootsReport): string {
  return JSON.stringify([roots.map(({ phase, serial }) => [phase, serial]), waitsFor]);
}

export function rootsTable({ roots }: RootsReport): string {
  const now = systemClock.now();
  return table(
    ['ROOT', 'PHASE', 'SINCE', 'GOES', 'ENDS'],
    roots.map(({ serial, phase, since, until, notAfter }) => [
      serial.slice(0, 16),
      phase,
      distance(Date.parse(since), now),
      until === undefined ? '-' : distance(Date.parse(until), now),
      distance(Date.parse(notAfter), now),
    ]),
  );
}

/** One line: what is going on, and what it waits for. */
export function rotationLine({ roots, waitsFor, waitsUntil, rotatesAt }: RootsReport): string {
  const phase = (name: string) => roots.find((root) => root.phase === name);
  const now = systemClock.now();
  const retiring = phase('retiring') ?? phase('replaced');
  if (phase('published') !== undefined) {
    const isWaited = waitsUntil !== undefined && Date.parse(waitsUntil) > now;
    const until = isWaited
      ? `signs ${distance(Date.parse(waitsUntil), now)} at the earliest`
      : 'signs as soon as they have it';
    const missing =
      waitsFor.length === 0 ? 'everybody who is connected has it' : `not yet with: ${waitsFor.join(', ')}`;
    return `published: the bundle holds the new root; ${until}; ${missing}`;
  }
  if (phase('prepared') !== undefined) return 'prepared: the new root is made, and goes into the bundle next';
  if (retiring === undefined) {
    return rotatesAt === undefined
      ? "not rotated here: the root is its operator's"
      : `no rotation is under way; the next one begins ${distance(Date.parse(rotatesAt), now)}`;
  }
  const goes = distance(Date.parse(retiring.until ?? ''), now);
  return retiring.phase === 'retiring'
    ? `activated: the new root signs; the old one goes ${goes}, when no SVID below it can be alive`
    : `replaced: the old root is not trusted any more; the intermediates that it signed here are, and go ${goes}`;
}

function reportOf(state: RootsState): RootsReport {
  return {
    trustDomain: state.trustDomain,
    sequence: Number(state.sequence),
    roots: state.roots.map(({ phase, serial, sinceMs, untilMs, notBeforeMs, notAfterMs }) => ({
      phase,
      serial,
      since: iso(sinceMs),
      until: untilMs === undefined ? undefined : iso(untilMs),
      notBefore: iso(notBeforeMs),
      notAfter: iso(notAfterMs),
    })),
    waitsFor: state.waitsFor,
    waitsUntil: state.waitsUntilMs === undefined ? undefined : iso(state.waitsUntilMs),
    rotatesAt: state.rotatesAtMs === undefined ? undefined : iso(state.rotatesAtMs),
    intermediate: { serial: state.intermediateSerial, notAfter: iso(state.intermediateNotAfterMs) },
  };
}

function iso(ms: bigint): string {
  return new Date(Number(ms)).toISOString();
}
