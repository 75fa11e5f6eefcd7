import { createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import type { Watch } from '#runtime/watch.ts';
import { ConnectionGuard, type DrainReason, type MtlsConnection } from './connection-guard.ts';
import { onBeginning, type PlaintextEntry } from './first-byte.ts';
import { handshakeReason, ruleOfHandshake } from './handshake-error.ts';
import { type ListenLimits, listenLimits } from './listen-limits.ts';
import { PeerRefused, type PeerRule } from './peer-refused.ts';
import { plainAddress } from './plain-address.ts';
import { rawSocketOf } from './raw-socket.ts';
import { contextOptions } from './tls-context.ts';
import { ownNotAfter, type TlsIdentity } from './tls-identity.ts';
import { type VerifiedPeer, verifyPeer } from './verified-peer.ts';

/** A connection that was not accepted. */
export interface Refusal {
  /** Without a port: what a log groups by. */
  readonly address: string;
  readonly rule: PeerRule;
  readonly reason: string;
}

type PeerOf<A extends 'refuse' | 'allow'> = A extends 'allow' ? VerifiedPeer | undefined : VerifiedPeer;

export interface ListenOptions<A extends 'refuse' | 'allow' = 'refuse'> {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Others listen there too, and the system spreads connections over all (SO_REUSEPORT; Linux). Default false. */
  readonly reusePort?: boolean;
  readonly identity: Watch<TlsIdentity>;
  /** Protocols that are spoken here, the preferred first. A client that offers none of them is refused. */
  readonly alpn: readonly string[];
  /** Whether a client may present no certificate at all (its `peer` is undefined then). One that is presented must be right. */
  readonly anonymous: A;
  /** Where connections without TLS go. Default: they are refused. At most half of `connectionsMax` are taken. */
  readonly plaintext?: PlaintextEntry | undefined;
  readonly clock: Clock;
  readonly limits?: Partial<ListenLimits>;
  /**
   * Attach a reader at once: what the peer sent with the end of its handshake comes next. `handshakeMs`: since the connection was
   * accepted.
   */
  readonly onConnection: (connection: MtlsConnection<PeerOf<A>>, handshakeMs: number) => void;
  /** Called for every refusal: count them, and log by `RefusalLog`. */
  readonly onRefused: (refusal: Refusal) => void;
  /** Called once a connection: finish what has begun, then end it; it is destroyed after the grace. */
  readonly onDrain?: (connection: MtlsConnection<PeerOf<A>>, reason: DrainReason) => void;
}

export interface MtlsListener<A extends 'refuse' | 'allow' = 'refuse'> extends AsyncDisposable {
  readonly address: { readonly host: string; readonly port: number };
  readonly connections: ReadonlySet<MtlsConnection<PeerOf<A>>>;
  /** Stops accepting, drains what is open (`listener_closes`), and resolves when all has closed, at the latest after `graceMs`. */
  close(graceMs?: number): Promise<void>;
}

interface Handshake {
  readonly identity: TlsIdentity;
  readonly address: string;
  /** Clock.monotonic() */
  readonly begunAt: number;
  readonly timer: Scheduled;
}

const keepAliveMs = 30_000;

/**
 * Listens for mutual TLS 1.3. A change of `identity` holds for new connections at once and drops none; SNI chooses nothing.
 * @throws CellmeshError `port_taken`, `listen_failed`
 */
export async function listenMtls<A extends 'refuse' | 'allow'>(options: ListenOptions<A>): Promise<MtlsListener<A>> {
  const listener = new Listener(options);
  await listener.open();
  return listener;
}

class Listener<A extends 'refuse' | 'allow'> implements MtlsListener<A> {
  readonly connections = new Set<MtlsConnection<PeerOf<A>>>();
  readonly #options: ListenOptions<A>;
  readonly #limits: ListenLimits;
  /** Accepts, counts and times; the TLS server below never listens itself, it is handed what is let in. */
  readonly #tcp: TcpServer;
  readonly #tls: TlsServer;
  readonly #handshakes = new Map<Socket, Handshake>();
  readonly #guards = new Map<TLSSocket, ConnectionGuard>();
  readonly #unsubscribe: () => void;
  #address = { host: '', port: 0 };

  constructor(options: ListenOptions<A>) {
    this.#options = options;
    this.#limits = { ...listenLimits, ...options.limits };
    this.#tcp = createTcpServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs });
    this.#tls = createTlsServer({
      ...contextOptions(options.identity.current),
      ALPNProtocols: [...options.alpn],
      requestCert: true,
      // Not to accept more, but to say why not: `verifyPeer` demands OpenSSL's consent too.
      rejectUnauthorized: false,
    });
    this.#tcp.on('connection', (raw) => this.#onRaw(raw));
    this.#tls.on('secureConnection', (socket) => this.#onSecure(socket));
    this.#tls.on('tlsClientError', (error, socket) => this.#onHandshakeError(error, socket));
    this.#unsubscribe = options.identity.subscribe((identity) => this.#tls.setSecureContext(contextOptions(identity)));
  }

  get address(): { readonly host: string; readonly port: number } {
    return this.#address;
  }

  open(): Promise<void> {
    const { host, port, reusePort = false } = this.#options;
    return new Promise((resolve, reject) => {
      this.#tcp.once('error', (error) => {
        this.#unsubscribe();
        reject(listenError(error, `${host}:${port}`));
      });
      this.#tcp.listen({ host, port, reusePort }, () => {
        const bound = this.#tcp.address();
        if (bound !== null && typeof bound === 'object') this.#address = { host: bound.address, port: bound.port };
        this.#tcp.removeAllListeners('error');
        // Accepting can fail later (no file descriptors left): Node goes on by itself when they are there again.
        this.#tcp.on('error', (error) => this.#refuse('*', 'handshake', messageOf(error)));
        resolve();
      });
    });
  }

  async close(graceMs: number = this.#limits.drainGraceMs): Promise<void> {
    this.#unsubscribe();
    const closed = new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
    for (const [raw, { timer }] of this.#handshakes) {
      timer.cancel();
      raw.destroy();
    }
    this.#handshakes.clear();
    for (const [socket, guard] of this.#guards) {
      if (graceMs > 0) guard.drain('listener_closes', graceMs);
      else socket.destroy();
    }
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0);
  }

  #onRaw(raw: Socket): void {
    raw.on('error', () => undefined);
    if (raw.remoteAddress === undefined) {
      raw.destroy();
      return;
    }
    const address = plainAddress(raw.remoteAddress);
    const full = this.#fullBecauseOf();
    if (full !== undefined && !this.#giveUpSlowest(full)) {
      raw.destroy();
      this.#refuse(address, full.rule, full.reason);
      return;
    }
    const { clock, identity } = this.#options;
    const timer = clock.schedule(this.#limits.handshakeMs, () => {
      this.#handshakes.delete(raw);
      raw.destroy();
      this.#refuse(address, 'handshake_timeout', `no handshake within ${this.#limits.handshakeMs} ms`);
    });
    this.#handshakes.set(raw, { identity: identity.current, address, begunAt: clock.monotonic(), timer });
    this.#begin(raw);
  }

  #begin(raw: Socket): void {
    const { clock, plaintext } = this.#options;
    if (plaintext?.isOpen() !== true) {
      this.#tls.emit('connection', raw);
      return;
    }
    onBeginning(raw, { clock, silenceMs: plaintext.silenceMs(raw) }, (beginning) => {
      if (beginning === 'tls') this.#tls.emit('connection', raw);
      else this.#giveAway(raw, plaintext, beginning === 'nothing');
    });
  }

  #giveAway(raw: Socket, plaintext: PlaintextEntry, isGone: boolean): void {
    const handshake = this.#endHandshake(raw);
    const isRoom = plaintext.size < this.#limits.connectionsMax / 2;
    if (handshake !== undefined && !isGone && isRoom) {
      plaintext.onConnection(raw);
      return;
    }
    raw.destroy();
    if (handshake === undefined) return;
    if (isGone) this.#refuse(handshake.address, 'handshake', 'it was closed before it began');
    else this.#refuse(handshake.address, 'connections_max', `${plaintext.size} connections without TLS are open`);
  }

  #fullBecauseOf(): { rule: PeerRule; reason: string } | undefined {
    const { connectionsMax, handshakesMax } = this.#limits;
    const plaintext = this.#options.plaintext?.size ?? 0;
    if (this.#guards.size + plaintext + this.#handshakes.size >= connectionsMax) {
      return { rule: 'connections_max', reason: `${connectionsMax} connections are open` };
    }
    if (this.#handshakes.size < handshakesMax) return undefined;
    return { rule: 'handshakes_max', reason: `${handshakesMax} handshakes are under way` };
  }

  /** @returns whether there was one slow enough; the oldest comes first in the map */
  #giveUpSlowest({ rule, reason }: { rule: PeerRule; reason: string }): boolean {
    for (const [raw, { address, begunAt, timer }] of this.#handshakes) {
      if (this.#options.clock.monotonic() - begunAt < this.#limits.slowHandshakeMs) return false;
      timer.cancel();
      this.#handshakes.delete(raw);
      raw.destroy();
      this.#refuse(address, rule, `${reason}, and this was the slowest`);
      return true;
    }
    return false;
  }

  #onSecure(socket: TLSSocket): void {
    socket.on('error', () => undefined);
    const handshake = this.#endHandshake(rawSocketOf(socket));
    if (handshake === undefined) {
      // It timed out, or the listener closed, in the same turn of the loop.
      socket.destroy();
      return;
    }
    try {
      this.#establish(socket, handshake);
    } catch (error) {
      socket.destroy();
      if (error instanceof PeerRefused) this.#refuse(handshake.address, error.rule, error.reason);
      else this.#refuse(handshake.address, 'handler_failed', messageOf(error));
    }
  }

  #establish(socket: TLSSocket, { identity, begunAt }: Handshake): void {
    const { clock, onConnection, onDrain } = this.#options;
    const verdict = this.#verify(socket);
    if (typeof socket.alpnProtocol !== 'string') throw new PeerRefused('alpn', 'the peer offered no protocol by ALPN');
    const connection = Object.freeze({ socket, peer: verdict?.peer }) as MtlsConnection<PeerOf<A>>;
    const guard = new ConnectionGuard({
      socket,
      svid: verdict?.svid,
      ownNotAfter: ownNotAfter(identity),
      bundles: this.#options.identity,
      clock,
      graceMs: this.#limits.drainGraceMs,
      isDialed: false,
      onDrain: (reason) => onDrain?.(connection, reason),
    });
    this.#guards.set(socket, guard);
    this.connections.add(connection);
    socket.once('close', () => {
      this.#guards.delete(socket);
      this.connections.delete(connection);
    });
    onConnection(connection, clock.monotonic() - begunAt);
  }

  #verify(socket: TLSSocket) {
    const { anonymous, identity, clock } = this.#options;
    if (anonymous === 'allow' && socket.getPeerX509Certificate() === undefined) return undefined;
    return verifyPeer(socket, identity.current.bundles, clock.now());
  }

  #onHandshakeError(error: Error, socket: TLSSocket): void {
    socket.on('error', () => undefined);
    const handshake = this.#endHandshake(rawSocketOf(socket));
    socket.destroy();
    // Without one it has been refused already: it timed out, and what comes here is the end of its socket.
    if (handshake === undefined) return;
    this.#refuse(handshake.address, ruleOfHandshake(error), handshakeReason(error));
  }

  #endHandshake(raw: Socket | undefined): Handshake | undefined {
    const handshake = raw && this.#handshakes.get(raw);
    if (raw === undefined || handshake === undefined) return undefined;
    handshake.timer.cancel();
    this.#handshakes.delete(raw);
    return handshake;
  }

  #refuse(address: string, rule: PeerRule, reason: string): void {
    this.#options.onRefused({ address, rule, reason });
  }
}

function listenError(error: NodeJS.ErrnoException, where: string): CellmeshError {
  if (error.code === 'EADDRINUSE') {
    return new CellmeshError('port_taken', `${where} is taken by another program`, { cause: error });
  }
  return new CellmeshError('listen_failed', `cannot listen on ${where}: ${error.message}`, { cause: error });
}
