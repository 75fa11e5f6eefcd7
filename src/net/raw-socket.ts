import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/**
 * The TCP socket that a TLS server was handed for this TLS socket, or undefined. When a handshake fails, Node has already taken
 * the addresses off the TLS socket, and nothing documented leads back from it; `_parent` does, since Node 0.12. A Node without it
 * fails closed: `accept.ts` lets no connection in that it did not see come.
 */
export function rawSocketOf(socket: TLSSocket): Socket | undefined {
  return (socket as { _parent?: Socket })._parent;
}
