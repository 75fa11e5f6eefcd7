import type { Duplex } from 'node:stream';
import type { Protocol } from './exchange.ts';

/** What ALPN chose on a TLS socket; HTTP/1.1 where it chose nothing else. */
export function negotiatedProtocol(socket: Duplex): Protocol {
  return 'alpnProtocol' in socket && socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1';
}
