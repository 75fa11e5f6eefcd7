import { connect } from 'node:net';
import type { Clock } from '#runtime/clock.ts';

/** A dial to an address of one's own is answered in microseconds; only a packet filter that drops makes it wait. */
const dialTimeoutMs = 1_000;

/** Whether somebody accepts connections there. False as well when `signal` is aborted. */
export function isListening(host: string, port: number, clock: Clock, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const timer = clock.schedule(dialTimeoutMs, () => finish(false));
    const onAbort = () => finish(false);
    const finish = (isOpen: boolean) => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(isOpen);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}
