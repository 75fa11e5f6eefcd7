import { WireError } from '../wire-error.ts';

interface LostConnection {
  readonly hasResponseBytes: boolean;
  readonly hasServed: boolean;
  readonly idleMs: number;
  readonly cause: Error | undefined;
}

/** Names the likely cause where a server closed a connection that it had kept (PAINS.md P4). */
export function closedError({ hasResponseBytes, hasServed, idleMs, cause }: LostConnection): WireError {
  if (hasResponseBytes) {
    return new WireError('upstream_failed', 'the upstream closed in the midst of its response', { cause });
  }
  const why = hasServed ? `; its keep-alive time may be below the ${idleMs} ms of the pool` : '';
  return new WireError('upstream_failed', `the upstream closed the connection without a response${why}`, { cause });
}
