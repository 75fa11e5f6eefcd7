import type { Duplex } from 'node:stream';
import type { Upstream } from '#wire/exchange.ts';
import { lendingPair } from './lending-pair.ts';

/** The far end of a connection that a pool opened: what it got so far, and a way to answer. */
export interface FarEnd {
  readonly socket: Duplex;
  /** Everything received. */
  readonly received: string;
  /** Resolves when `count` request heads have arrived. */
  heads(count: number): Promise<void>;
}

export interface MemoryUpstream extends Upstream {
  readonly ends: readonly FarEnd[];
}

/** An upstream in memory; `script` plays each connection, told apart by its index. */
export function memoryUpstream(script: (end: FarEnd, index: number) => void | Promise<void>): MemoryUpstream {
  const ends: FarEnd[] = [];
  return {
    key: 'memory',
    ends,
    async connect() {
      const [far, near] = lendingPair();
      const end = farEnd(far);
      ends.push(end);
      far.on('error', () => {});
      void script(end, ends.length - 1);
      return near;
    },
  };
}

function farEnd(socket: Duplex): FarEnd {
  let received = '';
  const waiting: { count: number; resolve: () => void }[] = [];
  const headCount = () => received.split('\r\n\r\n').length - 1;
  socket.on('data', (bytes: Buffer) => {
    received += bytes.toString('latin1');
    for (const { count, resolve } of waiting) if (headCount() >= count) resolve();
  });
  return {
    socket,
    get received() {
      return received;
    },
    heads: (count) =>
      new Promise((resolve) => {
        if (headCount() >= count) resolve();
        else waiting.push({ count, resolve });
      }),
  };
}
