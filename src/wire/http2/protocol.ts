/** Numbers of RFC 9113. */

/** Frame types (section 6). */
export const frameType = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  rstStream: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goaway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

export const flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** Settings (section 6.5.2; 0x8 is RFC 8441, 0x9 is RFC 9218). */
export const setting = {
  headerTableSize: 0x1,
  enablePush: 0x2,
  maxConcurrentStreams: 0x3,
  initialWindowSize: 0x4,
  maxFrameSize: 0x5,
  maxHeaderListSize: 0x6,
  enableConnectProtocol: 0x8,
  noRfc7540Priorities: 0x9,
} as const;

/** Error codes (section 7). */
export const errorCode = {
  noError: 0x0,
  protocolError: 0x1,
  internalError: 0x2,
  flowControlError: 0x3,
  settingsTimeout: 0x4,
  streamClosed: 0x5,
  frameSizeError: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compressionError: 0x9,
  connectError: 0xa,
  enhanceYourCalm: 0xb,
  inadequateSecurity: 0xc,
  http11Required: 0xd,
} as const;

export const frameHeaderBytes = 9;
/** What we accept and never raise: one frame and its header fit into two TLS records. */
export const frameBytesMax = 16_384;
export const windowMax = 0x7fff_ffff;
export const initialWindow = 65_535;
export const streamIdMax = 0x7fff_ffff;

/** What a client sends first (section 3.4). */
export const clientPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

const names = new Map<number, string>(
  Object.entries(errorCode).map(([name, code]) => [code, name.replace(/[A-Z0-9]+/g, '_$&').toUpperCase()]),
);

/** As the RFC writes it, for messages. */
export function errorCodeName(code: number): string {
  return names.get(code) ?? `error ${code}`;
}

/**
 * The peer broke a rule in a way that ends the connection (section 5.4.1). Thrown while frames are read, never past the connection.
 */
export class ConnectionFault extends Error {
  readonly errorCode: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'ConnectionFault';
    this.errorCode = code;
  }
}
