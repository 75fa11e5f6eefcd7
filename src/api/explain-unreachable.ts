import { dialMtls } from '#net/dial.ts';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';
import type { ApiClientOptions } from './api-client.ts';

/** A second look at who answers, after a connection has failed. */
const explainTimeoutMs = 2_000;

/**
 * The gRPC library says of a connection that failed little more than that it did, or what OpenSSL makes of it. A handshake of our own names who
 * answers and the rule that is broken. Other errors, and those that it finds no reason for, come back as they are.
 */
export async function explainUnreachable(
  error: CellmeshError,
  options: ApiClientOptions,
  signal: AbortSignal,
): Promise<CellmeshError> {
  if (error.code !== 'rpc_unavailable' || signal.aborted) return error;
  try {
    const { socket } = await dialMtls({ ...options, alpn: ['h2'], timeoutMs: explainTimeoutMs, signal });
    socket.destroy();
    return error;
  } catch (found) {
    if (!isCellmeshError(found)) return error;
    if (found.code === 'peer_refused') return found;
    return new CellmeshError('rpc_unavailable', found.message, { cause: found, retryable: true });
  }
}
