import type { TLSSocket } from 'node:tls';
import { type SpiffeId, trustDomainOf } from '#certs/spiffe-id.ts';
import { SvidRejected } from '#certs/svid-rules.ts';
import type { TrustBundles } from '#certs/trust-bundle.ts';
import { type VerifiedSvid, verifySvid } from '#certs/verify-svid.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import type { VerifiedPeer } from './verified-peer.ts';

/** An open connection. `peer` is undefined only where anonymous clients are allowed. */
export interface MtlsConnection<P extends VerifiedPeer | undefined = VerifiedPeer> {
  readonly socket: TLSSocket;
  readonly peer: P;
}

/** Why a connection has to end: certificates run out, a new bundle no longer vouches for the peer, the listener closes. */
export type DrainReason = 'certificate_ends' | 'bundle_changed' | 'listener_closes';

/** How long a draining connection may finish what it has begun. */
export const drainGraceMs = 10_000;
/** Certificates that live minutes only (tests, drills) drain for a tenth of what is left, not for longer than they live. */
const drainShareOfLife = 0.1;
/** The side that opened a connection begins its end this much earlier, in graces (RFC 9110 9.2.2: a POST that crossed a close is lost). */
const dialedGraces = 2;

interface GuardOptions {
  readonly socket: TLSSocket;
  /** What the peer presented; absent for an anonymous one. */
  readonly svid: VerifiedSvid | undefined;
  /** The end of the certificate that this side presented, or undefined when it presented none. */
  readonly ownNotAfter: number | undefined;
  readonly bundles: Watch<{ readonly bundles: TrustBundles }>;
  readonly clock: Clock;
  readonly graceMs: number;
  /** Whether this side opened the connection. It stops using it first: a server that closes an idle one may cross a request on its way. */
  readonly isDialed: boolean;
  /** Called once. Whoever uses the socket stops beginning new work on it and ends it; after the grace it is destroyed. */
  readonly onDrain: (reason: DrainReason) => void;
}

/** What a peer showed, as bytes: parsed certificates hold objects of OpenSSL, and a thousand idle connections would keep as many of each. */
interface Presented {
  readonly id: SpiffeId;
  readonly chainDer: readonly Buffer[];
  readonly rootDer: Buffer;
}

function presentedOf({ id, chain, root }: VerifiedSvid): Presented {
  return { id, chainDer: chain.map(({ der }) => der), rootDer: root.der };
}

/**
 * TLS looks at certificates once, in the handshake. The guard keeps looking until the socket has closed: a connection does not
 * outlive the certificates of either end, and not the trust in the peer's root.
 */
export class ConnectionGuard {
  readonly #options: Omit<GuardOptions, 'svid'>;
  readonly #presented: Presented | undefined;
  readonly #endsAt: number;
  readonly #drainsAt: number;
  readonly #unsubscribe: () => void;
  #timer: Scheduled | undefined;
  #isDraining = false;

  constructor({ svid, ...options }: GuardOptions) {
    const { ownNotAfter, clock, graceMs, socket, isDialed } = options;
    this.#options = options;
    this.#presented = svid && presentedOf(svid);
    this.#endsAt = Math.min(ownNotAfter ?? Number.POSITIVE_INFINITY, svid?.notAfter ?? Number.POSITIVE_INFINITY);
    const leftMs = Math.max(0, this.#endsAt - clock.now());
    this.#drainsAt = this.#endsAt - (isDialed ? dialedGraces : 1) * Math.min(graceMs, leftMs * drainShareOfLife);
    this.#unsubscribe = options.bundles.subscribe(({ bundles }) => this.#onBundles(bundles));
    socket.once('close', () => this.#release());
    this.#awaitEnd();
  }

  /** Begins the end, if it has not begun. */
  drain(reason: DrainReason, graceMs: number = this.#options.graceMs): void {
    const { socket, clock, onDrain } = this.#options;
    if (this.#isDraining || socket.destroyed) return;
    this.#isDraining = true;
    this.#release();
    this.#timer = clock.schedule(graceMs, () => socket.destroy());
    onDrain(reason);
  }

  /** A clock may cut very long delays short, so the time is looked at again when the timer fires. */
  #awaitEnd(): void {
    if (this.#endsAt === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#options;
    const delayMs = this.#drainsAt - clock.now();
    if (delayMs <= 0) this.drain('certificate_ends', Math.max(0, this.#endsAt - clock.now()));
    else this.#timer = clock.schedule(delayMs, () => this.#awaitEnd());
  }

  #onBundles(bundles: TrustBundles): void {
    const presented = this.#presented;
    if (presented !== undefined && !isStillTrusted(presented, bundles, this.#options.clock.now())) {
      this.drain('bundle_changed');
    }
  }

  /** After `drain` the socket's own 'close' still cancels the timer that would destroy it. */
  #release(): void {
    this.#timer?.cancel();
    this.#unsubscribe();
  }
}

/**
 * Signatures do not change: as long as the root that vouched is in the bundle, nothing needs computing, and a new bundle costs a
 * thousand connections a comparison each.
 */
function isStillTrusted({ id, rootDer, chainDer }: Presented, bundles: TrustBundles, nowMs: number): boolean {
  const roots = bundles.get(trustDomainOf(id))?.roots ?? [];
  if (roots.some(({ der }) => der.equals(rootDer))) return true;
  try {
    verifySvid(chainDer, bundles, nowMs);
    return true;
  } catch (error) {
    if (error instanceof SvidRejected) return false;
    throw error;
  }
}
