import type { Duplex } from 'node:stream';
import type { ExchangeHandler } from '#wire/exchange.ts';
import { type ServeOptions, type ServerConnection, serveConnection } from '#wire/server-connection.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { lendingPair } from './lending-pair.ts';
import { turn } from './memory-proxy.ts';

export interface MemoryServer extends Disposable {
  readonly clock: FakeClock;
  readonly connection: ServerConnection;
  readonly client: Duplex;
  /** Everything the client got. */
  readonly answered: string;
  readonly refused: readonly string[];
  readonly handlerErrors: readonly unknown[];
  /** Writes, and lets everything in memory come to rest. */
  send(text: string): Promise<void>;
  settle(): Promise<void>;
}

/** One connection served in memory on a clock that stands still. */
export function memoryServer(
  handler: ExchangeHandler<string>,
  options: Partial<ServeOptions<string>> = {},
): MemoryServer {
  const clock = new FakeClock();
  const [client, server] = lendingPair();
  let answered = '';
  const refused: string[] = [];
  const handlerErrors: unknown[] = [];
  client.on('data', (bytes: Buffer) => {
    answered += bytes.toString('latin1');
  });
  client.on('error', () => {});
  const connection = serveConnection(server, 'the peer', handler, {
    clock,
    onRefused: (error) => void refused.push(error.rule ?? error.code),
    onHandlerError: (error) => handlerErrors.push(error),
    ...options,
  });
  const settle = async () => {
    for (let i = 0; i < 6; i++) await turn();
  };
  return {
    clock,
    connection,
    client,
    get answered() {
      return answered;
    },
    refused,
    handlerErrors,
    async send(text) {
      client.write(Buffer.from(text, 'latin1'));
      await settle();
    },
    settle,
    [Symbol.dispose]() {
      connection.destroy();
      client.destroy();
    },
  };
}
