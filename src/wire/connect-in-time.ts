import type { Duplex } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import { Deadline } from './deadline.ts';
import type { Protocol, Upstream } from './exchange.ts';
import { negotiatedProtocol } from './negotiated-protocol.ts';
import { WireError } from './wire-error.ts';

/**
 * Opens a connection to `upstream` within its own `connectMs` or else that of the pool, and it must speak `protocol` where one is known. A `connect` that ignores its signal loses its socket when it comes after the time.
 * @throws WireError `upstream_timeout`, `upstream_unreachable`; the reason of `closed` when that is aborted
 */
export async function connectInTime(
  upstream: Upstream,
  clock: Clock,
  connectMs: number,
  closed: AbortSignal,
  protocol?: Protocol,
): Promise<Duplex> {
  try {
    const socket = await connected(upstream, clock, upstream.connectMs ?? connectMs, closed);
    if (upstream.protocol !== 'negotiated' || protocol === undefined || negotiatedProtocol(socket) === protocol) {
      return socket;
    }
    socket.destroy();
    throw new Error(`it does not speak ${protocol} any more`);
  } catch (cause) {
    if (cause instanceof WireError) throw cause;
    const message = `no connection to the upstream: ${messageOf(cause)}`;
    throw new WireError('upstream_unreachable', message, { cause, retryable: true });
  }
}

function connected(upstream: Upstream, clock: Clock, connectMs: number, closed: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const abort = new AbortController();
    const give = (error: WireError) => {
      abort.abort(error);
      reject(error);
    };
    const onClosed = () => give(closed.reason);
    const deadline = new Deadline(clock, () => {
      give(new WireError('upstream_timeout', 'the upstream did not accept a connection in time', { retryable: true }));
    });
    const settle = () => {
      deadline.dispose();
      closed.removeEventListener('abort', onClosed);
    };
    deadline.set(connectMs);
    closed.addEventListener('abort', onClosed, { once: true });
    upstream.connect(abort.signal).then(
      (socket) => {
        settle();
        if (abort.signal.aborted) socket.destroy();
        else resolve(socket);
      },
      (error: unknown) => {
        settle();
        reject(error);
      },
    );
  });
}
