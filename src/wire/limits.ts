/**
 * What a peer may make grow, and for how long it may stay silent. Every value is an option of `serveConnection` or
 * `UpstreamPool`; these are the defaults, each with its reason.
 */
export interface HttpLimits {
  /** Head of a message: start line, fields and the blank line. 431; from an upstream 502. A cell token is at most 4 KiB. */
  readonly headBytesMax: number;
  /** Field lines of a head. 431. Browsers send about 20, a trace and a mesh add 10. */
  readonly fieldsMax: number;
  /** One line without its CRLF. Request line 414, field line 431. */
  readonly lineBytesMax: number;
  /** Body of one message after decoding. 413. No limit unless the consumer sets one. */
  readonly bodyBytesMax: number;
  /** Trailer section of a chunked body. 431. gRPC's `grpc-status-details-bin` is the largest in practice. */
  readonly trailerBytesMax: number;
  /** Chunk extensions of one line: nobody uses them, so they only cost (CVE-2023-39326). 400. */
  readonly chunkExtensionBytesMax: number;
  /** Chunk extensions of one body. 400. */
  readonly bodyExtensionBytesMax: number;
  /** Bytes read ahead of what the handler wants (pipelined requests, an unwanted body) before reading stops. */
  readonly readAheadBytesMax: number;
  /** An unread request body of at most this size is read away after the response to keep the connection. */
  readonly drainBytesMax: number;
  /** Interim (1xx) responses before a final one. 502. */
  readonly interimResponsesMax: number;
}

export const defaultHttpLimits: HttpLimits = {
  headBytesMax: 32 * 1024,
  fieldsMax: 128,
  lineBytesMax: 8 * 1024,
  bodyBytesMax: Number.POSITIVE_INFINITY,
  trailerBytesMax: 8 * 1024,
  chunkExtensionBytesMax: 256,
  bodyExtensionBytesMax: 16 * 1024,
  readAheadBytesMax: 64 * 1024,
  drainBytesMax: 256 * 1024,
  interimResponsesMax: 8,
};

/** The scan buffer is one for the whole thread and has this size: `headBytesMax` cannot be set higher. */
export const headBytesCeiling = 64 * 1024;

/** All in milliseconds. */
export interface HttpTimeouts {
  /** From the first byte of a request head to its last. 408. Also how long an upstream may take to answer a whole request. 504. */
  readonly headMs: number;
  /** Between two pieces of a body that the reader waits for. 408. */
  readonly bodyIdleMs: number;
  /** A peer that takes no bytes while some are waiting for it. The connection is destroyed. */
  readonly writeStallMs: number;
  /** A server connection without a request. Longer than any client pool keeps one, so that the client closes first. */
  readonly idleMs: number;
  /** For the peer to read the last response and close, after we closed our side. */
  readonly lingerMs: number;
}

export const defaultHttpTimeouts: HttpTimeouts = {
  headMs: 10_000,
  bodyIdleMs: 30_000,
  writeStallMs: 30_000,
  idleMs: 75_000,
  lingerMs: 2_000,
};

export interface PoolLimits {
  /** Exchanges at once with one upstream (HTTP/1.1: connections). Others queue. */
  readonly inFlightMax: number;
  /** Exchanges waiting for one upstream. One more is refused with 503. */
  readonly queueMax: number;
  /** Wait of one exchange in that queue. 503. */
  readonly queueMs: number;
  /** Time for the consumer's `connect`. 504. */
  readonly connectMs: number;
  /** From the last byte of the request to the head of the response. 504. */
  readonly responseHeadMs: number;
  /** Between two pieces of a response body. Streams may be silent for long; nothing may be silent for ever. */
  readonly responseIdleMs: number;
  /**
   * An unused connection is not used again after this time. Node's server closes after 5 s; a pool that keeps longer races
   * it and loses requests (istio#55138). A `Keep-Alive: timeout` of the upstream lowers it further.
   */
  readonly idleMs: number;
}

export const defaultPoolLimits: PoolLimits = {
  inFlightMax: 256,
  queueMax: 256,
  queueMs: 5_000,
  connectMs: 5_000,
  responseHeadMs: 30_000,
  responseIdleMs: 3_600_000,
  idleMs: 4_000,
};

/** Connections of one listener. One more is closed at once. */
export const connectionsMaxDefault = 1_000;
