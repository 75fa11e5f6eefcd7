import type { Socket } from 'node:net';
import type { OriginalDestination } from '#net/original-destination.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { ExchangeHandler } from '#wire/exchange.ts';
import { listenPlain, type PlainListener, type PlainListenOptions } from '#wire/listen-plain.ts';
import type { ServeOptions } from '#wire/server-connection.ts';
import { CalleeAddresses, type CalleeAddressesOptions } from './callee-addresses.ts';
import type { OutboundEntry } from './chosen-call.ts';

/** Where a packet filter redirects the application's connections to. */
export interface Interception {
  /** On loopback, of both families; 0 for any free one. */
  readonly port: number;
  readonly destinationOf: OriginalDestination;
  readonly resolve?: CalleeAddressesOptions['resolve'];
}

interface InterceptedCallsOptions
  extends Pick<PlainListenOptions<OutboundEntry>, 'onConnection' | keyof ServeOptions<OutboundEntry>>,
    Omit<CalleeAddressesOptions, 'resolve'> {
  readonly interception: Interception;
  readonly connectionsMax: number;
  readonly reusePort: boolean;
  readonly logger: Logger;
}

/**
 * Takes the connections that a packet filter redirects here (`cellmesh intercept`). Where one wanted to go says which callee is meant, whatever is
 * written inside. What goes where no declared call goes is denied, and so is what nobody redirected: it would come from here and end here.
 */
export class InterceptedCalls implements AsyncDisposable {
  readonly #options: InterceptedCallsOptions;
  readonly #addresses: CalleeAddresses;
  #listeners: readonly PlainListener[] = [];

  private constructor(options: InterceptedCallsOptions) {
    this.#options = options;
    this.#addresses = new CalleeAddresses({ ...options, resolve: options.interception.resolve });
  }

  /** @throws CellmeshError `port_taken`, `start_failed` */
  static async open(
    handler: ExchangeHandler<OutboundEntry>,
    options: InterceptedCallsOptions,
  ): Promise<InterceptedCalls> {
    const calls = new InterceptedCalls(options);
    try {
      await calls.#listen(handler);
      return calls;
    } catch (error) {
      await calls[Symbol.asyncDispose]();
      throw error;
    }
  }

  get address(): { readonly port: number } {
    return this.#listeners[0]!.address;
  }

  get connections(): number {
    return this.#listeners.reduce((sum, { connections }) => sum + connections, 0);
  }

  get streams(): number {
    return this.#listeners.reduce((sum, { streams }) => sum + streams, 0);
  }

  async close(graceMs: number): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close(graceMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0);
    await this.#addresses[Symbol.asyncDispose]();
  }

  async #listen(handler: ExchangeHandler<OutboundEntry>): Promise<void> {
    const { interception, logger } = this.#options;
    const open = (host: string, port: number) =>
      listenPlain(handler, {
        ...this.#options,
        host,
        port,
        contextOf: (socket) => this.#entryOf(socket),
        protocolOf: (entry) => (isHttp(entry) ? 'detected' : 'opaque'),
      });
    await this.#addresses.settled;
    const first = await open('127.0.0.1', interception.port);
    this.#listeners = [first];
    try {
      this.#listeners = [first, await open('::1', first.address.port)];
    } catch (error) {
      logger.warn('connections over IPv6 are not taken', { reason: messageOf(error) });
    }
  }

  #entryOf(socket: Socket): OutboundEntry {
    const destination = this.#options.interception.destinationOf(socket);
    if (destination === undefined) return { tag: 'intercepted', to: 'a connection that was not redirected' };
    const { host, port } = destination;
    const to = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    const callee = this.#addresses.find(destination);
    return { tag: 'intercepted', to, ...(callee && { callee: callee.id, port: callee.port }) };
  }
}

function isHttp(entry: OutboundEntry): boolean {
  return entry.tag === 'intercepted' && entry.port !== undefined && entry.port.protocol !== 'tcp';
}
