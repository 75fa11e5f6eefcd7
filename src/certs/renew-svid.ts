import { generateKeyPairSync } from 'node:crypto';
import { type Clock, sleep } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import type { WatchSource } from '#runtime/watch.ts';
import { createCsr } from './csr.ts';
import type { SpiffeId } from './spiffe-id.ts';
import { type Svid, svidOf } from './svid.ts';
import type { TrustBundles } from './trust-bundle.ts';
import { verifySvid } from './verify-svid.ts';

/** Port: asks whoever issues to sign a request. The implementation authenticates by join token or by the live SVID. */
export interface SvidRequester {
  /** Returns the chain as DER, leaf first. */
  requestSvid(csr: Buffer, signal: AbortSignal): Promise<{ readonly chainDer: readonly Uint8Array[] }>;
}

interface ObtainSvidOptions {
  readonly requester: SvidRequester;
  /** Whom to believe, looked at when the answer is there. */
  readonly bundles: () => TrustBundles;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The identity that the answer must have; absent at the first join, where the authority tells it. */
  readonly expect?: SpiffeId;
}

export interface RenewSvidOptions extends Omit<ObtainSvidOptions, 'expect'> {
  /** Holds the SVID in use; every renewed one is set here. */
  readonly svid: WatchSource<Svid>;
  readonly random: Random;
  readonly logger: Logger;
  /** Default 2 hours, or a third of what is left of the lifetime where that is shorter. */
  readonly intervalMs?: number;
  /** Calls `renew` when the SVID in use has to be replaced now; returns what ends that. */
  readonly onUrgent?: (renew: () => void) => () => void;
  /** Called before a new SVID is published: writes it to disk. Its failure is logged, and does not keep the SVID back. */
  readonly store?: (svid: Svid) => Promise<void>;
}

export const renewalIntervalMs = 2 * 3600_000;
/** Two failed rounds still leave a third of the lifetime. */
const shortestLifetimeInPeriods = 3;
/** Spread, so that a thousand sidecars that started together do not come together for ever: +-10 %. */
const jitterFraction = 0.1;
/** First pause after a failure; it doubles up to the longest. The pause is uniform between 0 and that (full jitter). */
const backoffMsMin = 1_000;
const backoffMsMax = 60_000;
/** What makes one renewal urgent makes all of a cell's: within this they spread. */
const urgentMsMax = 5_000;
/** Lifetimes can be minutes in tests and drills: retries must fit many times into what is left. */
const backoffShareOfLifetime = 1 / 20;

/**
 * A new key, a request, and the answer held against every rule before anybody uses it.
 * @throws CellmeshError `svid_rejected`, `svid_unexpected`, or whatever the requester throws
 */
export async function obtainSvid(options: ObtainSvidOptions): Promise<Svid> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { chainDer } = await options.requester.requestSvid(createCsr(privateKey), options.signal);
  const verified = verifySvid(chainDer, options.bundles(), options.clock.now());
  if (options.expect !== undefined && verified.id !== options.expect) {
    throw new CellmeshError(
      'svid_unexpected',
      `the authority answered with an SVID of ${verified.id}, not of ${options.expect}`,
    );
  }
  return svidOf(verified, privateKey);
}

/**
 * Renews until the signal is aborted, then resolves. The SVID in use stays until a better one is there, whatever goes wrong and
 * however long.
 */
export async function renewSvid(options: RenewSvidOptions): Promise<void> {
  const { signal, clock, svid, intervalMs = renewalIntervalMs } = options;
  try {
    await pause(options, firstPeriodMs(svid.current, intervalMs, clock.now()));
    for (;;) {
      await renewOnce(options);
      await pause(options, periodMs(svid.current, intervalMs, clock.now()));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Until it is time, or urgent. */
async function pause({ clock, random, signal, onUrgent }: RenewSvidOptions, periodMs: number): Promise<void> {
  const urgent = new AbortController();
  const unsubscribe = onUrgent?.(() => urgent.abort());
  try {
    await sleep(clock, withJitter(periodMs, random), AbortSignal.any([signal, urgent.signal]));
  } catch (error) {
    if (signal.aborted || !urgent.signal.aborted) throw error;
    await sleep(clock, urgentMsMax * random.fraction(), signal);
  } finally {
    unsubscribe?.();
  }
}

/** What is left of the lifetime counts, not the whole of it: certificates are back-dated, in compressed drills by most of it. */
function periodMs(svid: Svid, intervalMs: number, nowMs: number): number {
  return Math.max(0, Math.min(intervalMs, (svid.chain[0]!.notAfter - nowMs) / shortestLifetimeInPeriods));
}

/** An SVID that comes from disk may be hours old already; a fleet that restarts together still spreads its renewals. */
function firstPeriodMs(svid: Svid, intervalMs: number, nowMs: number): number {
  const period = periodMs(svid, intervalMs, nowMs);
  const untilDueMs = svid.chain[0]!.notBefore + intervalMs - nowMs;
  return Math.min(period, Math.max(untilDueMs, period * jitterFraction));
}

function withJitter(delayMs: number, random: Random): number {
  return delayMs * (1 + jitterFraction * (2 * random.fraction() - 1));
}

/** Tries until it succeeds; rejects when aborted. */
async function renewOnce(options: RenewSvidOptions): Promise<void> {
  const { svid, signal, clock, random, logger } = options;
  const current = svid.current;
  for (let attempt = 0; ; attempt++) {
    try {
      const renewed = await obtainSvid({ ...options, expect: current.id });
      await store(options, renewed);
      signal.throwIfAborted();
      svid.set(renewed);
      logger.info('SVID renewed', { spiffeId: renewed.id, serial: renewed.chain[0]!.serial });
      return;
    } catch (error) {
      signal.throwIfAborted();
      const pauseMs = backoffMs(current, attempt) * random.fraction();
      logger.warn('the SVID was not renewed; the old one stays in use', {
        error,
        attempt,
        pauseMs: Math.round(pauseMs),
      });
      await sleep(clock, pauseMs, signal);
    }
  }
}

async function store({ store: write, logger }: RenewSvidOptions, svid: Svid): Promise<void> {
  try {
    await write?.(svid);
  } catch (error) {
    logger.error('the renewed SVID could not be stored; it is used all the same', { error });
  }
}

function backoffMs(current: Svid, attempt: number): number {
  const { notBefore, notAfter } = current.chain[0]!;
  const longest = Math.min(backoffMsMax, (notAfter - notBefore) * backoffShareOfLifetime);
  return Math.min(backoffMsMin * 2 ** Math.min(attempt, 16), longest);
}
