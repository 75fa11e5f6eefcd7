import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { dialMtls } from '#net/dial.ts';
import { systemClock } from '#runtime/clock.ts';
import type { LoadPair } from './load-pair.ts';

export type Protocol = 'http/1.1' | 'h2';

/** One side of a sidecar, as those see it who connect to it. */
export interface Face {
  readonly name: 'inbound' | 'outbound';
  /** Over mutual TLS on the way in, plain on the way out. */
  dial(protocol: Protocol): Promise<Duplex>;
}

/** What became of one connection. */
export interface SlowEnd {
  /** From when it was open. */
  readonly closedAfterMs: number;
  /** What the sidecar said. */
  readonly heard: string;
  readonly heardBytes: number;
}

/** The way in to the callee, as the caller's sidecar would come; the way out of the caller, as its application would. */
export function facesOf({ caller, callee, peer }: LoadPair): readonly Face[] {
  return [
    {
      name: 'inbound',
      async dial(protocol) {
        const target = { host: '127.0.0.1', port: callee.inbound, expect: callee.id };
        return (await dialMtls({ ...target, identity: peer, alpn: [protocol], clock: systemClock })).socket;
      },
    },
    {
      name: 'outbound',
      async dial() {
        const socket = connect(caller.outbound, '127.0.0.1');
        await once(socket, 'connect');
        return socket;
      },
    },
  ];
}

/** Of what a sidecar says only the beginning is kept. */
const heardMax = 1_000;

/** How to hold a connection without using it. */
export interface SlowPlan {
  readonly said: Buffer | string;
  /** A byte of it after the other, over and over. */
  readonly trickle?: { readonly bytes: Buffer | string; readonly everyMs: number };
  /** Nothing is read before. */
  readonly readAfterMs?: number;
}

/**
 * Does to an open connection what `plan` says, and waits until the other end has closed it.
 * @throws when it is open after `withinMs`
 */
export async function beSlow(socket: Duplex, plan: SlowPlan, withinMs: number): Promise<SlowEnd> {
  const began = performance.now();
  let heard = '';
  let heardBytes = 0;
  socket.on('error', () => {});
  // A reset is an error too, and then the end.
  const closed = new Promise<number>((resolve) => socket.on('close', () => resolve(performance.now() - began)));
  const read = () => {
    socket.on('data', (bytes: Buffer) => {
      heardBytes += bytes.length;
      if (heard.length < heardMax) heard += bytes.toString('latin1');
    });
    socket.resume();
  };
  if (plan.readAfterMs === undefined) read();
  else void delay(plan.readAfterMs).then(read);
  // Who says nothing still wants to hear of the end.
  socket.on('end', () => socket.end());
  if (plan.said.length > 0) socket.write(plan.said);
  if (plan.trickle !== undefined) void trickle(socket, plan.trickle.bytes, plan.trickle.everyMs);
  const late = delay(withinMs, undefined, { ref: false }).then(() => {
    socket.destroy();
    throw new Error(`it is open after ${withinMs} ms; heard: ${JSON.stringify(heard.slice(0, 200))}`);
  });
  return { closedAfterMs: await Promise.race([closed, late]), heard, heardBytes };
}

/** Over and over, until nobody takes it. */
async function trickle(socket: Duplex, bytes: Buffer | string, everyMs: number): Promise<void> {
  const all = Buffer.from(bytes);
  for (let i = 0; !socket.destroyed && socket.writable; i++) {
    socket.write(all.subarray(i % all.length, (i % all.length) + 1));
    await delay(everyMs);
  }
}
