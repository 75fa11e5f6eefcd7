import { drainGraceMs } from './connection-guard.ts';

export interface ListenLimits {
  /** Open connections, handshakes included. Default 1000. */
  readonly connectionsMax: number;
  /** Handshakes at a time. Default 256. */
  readonly handshakesMax: number;
  /** From the first packet to the end of the handshake. Default 10 seconds. */
  readonly handshakeMs: number;
  /** One that takes longer gives way when there is no room for another. Default 1 second. */
  readonly slowHandshakeMs: number;
  /** How long a draining connection lives. Default 10 seconds. */
  readonly drainGraceMs: number;
}

/**
 * A connection costs 57 KB when idle: a thousand are 57 MB. Handshakes are bounded below that, and the slowest gives way, so that clients that
 * open and say nothing cannot take the places of those that work, nor of those that come: an honest handshake takes milliseconds.
 */
export const listenLimits: ListenLimits = Object.freeze({
  connectionsMax: 1000,
  handshakesMax: 256,
  handshakeMs: 10_000,
  slowHandshakeMs: 1_000,
  drainGraceMs,
});
