import type { Duplex } from 'node:stream';
import type { ClientOptions } from '../upstream-group.ts';
import { WireError } from '../wire-error.ts';
import type { Http2ClientExchange } from './client-exchange.ts';
import { type ConnectionUser, Http2Connection } from './connection.ts';
import type { PeerSettings } from './peer-settings.ts';
import { errorCode } from './protocol.ts';

/** The group's side of a connection. */
interface ConnectionOwner {
  /** It may take more than before. */
  capacityChanged(): void;
  /** It takes nothing new any more; what it carries goes on. */
  leaving(connection: Http2ClientConnection): void;
  gone(connection: Http2ClientConnection): void;
}

/** Before the upstream says how many it takes (RFC 9113 6.5.2 recommends it to be no less). */
const streamsBeforeSettings = 100;

/** One connection to an upstream, with as many requests at once as that allows. */
export class Http2ClientConnection implements ConnectionUser {
  readonly role = 'client';
  readonly #owner: ConnectionOwner;
  readonly #connection: Http2Connection;
  readonly #scheme: 'https' | 'http';
  #streamsMax = streamsBeforeSettings;
  #isSettled = false;
  #isLeaving = false;
  #isGone = false;

  constructor(socket: Duplex, owner: ConnectionOwner, options: ClientOptions, idleMs: number) {
    this.#owner = owner;
    this.#scheme = 'encrypted' in socket ? 'https' : 'http';
    const { clock, limits, pool, writeStallMs } = options;
    const headMs = pool.responseHeadMs;
    this.#connection = new Http2Connection(socket, this, { clock, http: limits, headMs, idleMs, writeStallMs });
  }

  get openStreams(): number {
    return this.#connection.openStreams;
  }

  get hasRoom(): boolean {
    return !this.#isLeaving && this.#connection.openStreams < this.#streamsMax;
  }

  /** @returns false when it cannot go out here now: the ids of streams are used up, or the upstream has not said yet whether it takes upgrades */
  begin(exchange: Http2ClientExchange): boolean {
    if (exchange.isUpgrade) {
      if (!this.#isSettled) return false;
      if (!this.#connection.peer.takesProtocols) {
        const message = 'the upstream takes no WebSocket over HTTP/2 (RFC 8441)';
        exchange.fail(new WireError('upstream_failed', message, { retryable: true }));
        return true;
      }
    }
    const stream = this.#connection.open();
    if (stream === undefined) {
      this.retire();
      return false;
    }
    exchange.start(this.#connection, stream, this.#scheme);
    return true;
  }

  /** Ends after what it carries. */
  retire(): void {
    if (!this.#isLeaving) {
      this.#isLeaving = true;
      this.#owner.leaving(this);
    }
    if (this.#connection.openStreams === 0) this.#connection.end(errorCode.noError);
  }

  destroy(error: WireError): void {
    this.#connection.destroy(error);
  }

  // For the connection.

  /** A client takes no streams: pushes were never allowed. */
  opened(): void {}

  settled({ streamsMax }: PeerSettings): void {
    this.#streamsMax = streamsMax;
    this.#isSettled = true;
    this.#owner.capacityChanged();
  }

  goingAway(): void {
    this.retire();
  }

  released(): void {
    if (this.#isLeaving && this.#connection.openStreams === 0) this.#connection.end(errorCode.noError);
    this.#owner.capacityChanged();
  }

  becameIdle(): void {
    this.retire();
  }

  gone(_: WireError): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#isLeaving = true;
    this.#owner.gone(this);
  }
}
