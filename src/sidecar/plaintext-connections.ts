import type { Socket } from 'node:net';
import { drainGraceMs } from '#net/connection-guard.ts';
import type { PlaintextEntry } from '#net/first-byte.ts';
import type { OriginalDestination } from '#net/original-destination.ts';
import type { Scheduled } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import type { ExchangeHandler, Protocol } from '#wire/exchange.ts';
import { type ServeOptions, type ServerConnection, serveConnection, streamsOf } from '#wire/server-connection.ts';
import type { ActivePolicy } from './active-policy.ts';
import { type PlaintextPeer, plaintextPeer } from './inbound-peer.ts';
import { plaintextPortOf } from './service-port.ts';

interface PlaintextConnectionsOptions extends Omit<ServeOptions<PlaintextPeer>, 'onClose' | 'onDetected' | 'protocol'> {
  readonly policy: Watch<ActivePolicy | undefined>;
  /** Absent where no packet filter redirects anything. */
  readonly destinationOf: OriginalDestination | undefined;
  /** Called once a connection, when it is known what it speaks. */
  readonly onConnection: (socket: Socket, protocol: Protocol | 'tcp') => void;
}

/** A client of TLS speaks as soon as it is connected. Whoever is silent for so long on a port with `protocol: tcp` waits for its server. */
const serverFirstMs = 500;

/**
 * Callers without TLS, while the policy hears them: they share the port of the mesh and come to the same path of requests. Once they are not heard any
 * more their connections end after what is in flight.
 */
export class PlaintextConnections implements PlaintextEntry {
  readonly #options: PlaintextConnectionsOptions;
  readonly #handler: ExchangeHandler<PlaintextPeer>;
  readonly #open = new Set<ServerConnection>();
  #cut: Scheduled | undefined;
  #lastMs = 0;

  constructor(handler: ExchangeHandler<PlaintextPeer>, options: PlaintextConnectionsOptions) {
    this.#handler = handler;
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  /** When one was last open: milliseconds since the epoch, 0 for never. */
  get lastMs(): number {
    return this.#open.size > 0 ? this.#options.clock.now() : this.#lastMs;
  }

  /** Of HTTP/2. */
  get streams(): number {
    return streamsOf(this.#open);
  }

  isOpen(): boolean {
    const { policy, clock } = this.#options;
    return policy.current?.inbound.takesPlaintext(clock.now()) === true;
  }

  silenceMs(socket: Socket): number | undefined {
    return this.#isOpaque(this.#peerOf(socket)) ? serverFirstMs : undefined;
  }

  /** To be called for each new policy, and when something in it ends. */
  decideAgain(): void {
    if (this.#open.size > 0 && !this.isOpen()) void this.close(drainGraceMs);
  }

  /** Ends what is open: at the latest after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#cut?.cancel();
    const ending = [...this.#open];
    const cut = this.#options.clock.schedule(graceMs, () => {
      for (const connection of ending) connection.destroy();
    });
    this.#cut = cut;
    for (const connection of ending) connection.drain();
    await Promise.all(ending.map(({ closed }) => closed));
    cut.cancel();
  }

  onConnection(socket: Socket): void {
    const { onConnection } = this.#options;
    const peer = this.#peerOf(socket);
    const isOpaque = this.#isOpaque(peer);
    socket.allowHalfOpen = isOpaque;
    if (isOpaque) onConnection(socket, 'tcp');
    const connection = serveConnection(socket, peer, this.#handler, {
      ...this.#options,
      protocol: isOpaque ? 'opaque' : 'detected',
      onDetected: (protocol) => onConnection(socket, protocol),
      onClose: () => {
        this.#open.delete(connection);
        this.#lastMs = this.#options.clock.now();
      },
    });
    this.#open.add(connection);
  }

  #peerOf(socket: Socket): PlaintextPeer {
    return plaintextPeer(socket.remoteAddress ?? '', this.#options.destinationOf?.(socket)?.port);
  }

  #isOpaque({ port }: PlaintextPeer): boolean {
    const policy = this.#options.policy.current;
    return policy !== undefined && plaintextPortOf(policy, port)?.protocol === 'tcp';
  }
}
