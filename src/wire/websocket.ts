import { createHash, randomBytes } from 'node:crypto';
import type { Fields } from './message.ts';
import { ruleBroken } from './wire-error.ts';

/**
 * The opening handshake of WebSocket: in HTTP/1.1 an upgrade (RFC 6455 4), in HTTP/2 an extended CONNECT (RFC 8441). What is said afterwards is
 * nobody's business here. Key and accept belong to one connection and are made anew on each; version, protocols and extensions pass.
 */
export type Upgrade = 'websocket';

/** RFC 6455 1.3. */
const acceptGuid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** Sixteen bytes in base64. */
const keyPattern = /^[+/0-9A-Za-z]{21}[AQgw]==$/;

/**
 * What an HTTP/1.1 request asks its connection to become. Any other upgrade is an offer that nobody has to take up (RFC 9110 7.8).
 * @throws WireError `upgrade`
 */
export function upgradeOf(fields: Fields, method: string, hasBody: boolean): Upgrade | undefined {
  if (method !== 'GET' || fields.field('upgrade')?.toLowerCase() !== 'websocket') return undefined;
  const key = fields.field('sec-websocket-key');
  if (fields.fieldCount('sec-websocket-key') !== 1 || !keyPattern.test(key!)) {
    throw ruleBroken('upgrade', 'Sec-WebSocket-Key is not one of sixteen bytes in base64');
  }
  if (hasBody) throw ruleBroken('upgrade', 'a request for WebSocket has a body');
  return 'websocket';
}

export function newWebSocketKey(): string {
  return randomBytes(16).toString('base64');
}

/** What proves that a server has understood `key`. */
export function webSocketAccept(key: string): string {
  return createHash('sha1')
    .update(key + acceptGuid)
    .digest('base64');
}

/** Whether a 101 is the answer to the request that sent `key`. */
export function isWebSocketAccepted(response: Fields, key: string): boolean {
  return (
    response.field('upgrade')?.toLowerCase() === 'websocket' &&
    response.field('sec-websocket-accept') === webSocketAccept(key)
  );
}
