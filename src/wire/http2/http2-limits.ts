/** What a peer may make an HTTP/2 connection hold or do. Bytes unless said otherwise. */
export const http2Limits = {
  /** SETTINGS_HEADER_TABLE_SIZE of both directions. The tokens, paths and fields that repeat between two sidecars fit into 64 KiB. */
  headerTableBytes: 64 * 1024,
  /** Streams that the peer may have open at once. More get REFUSED_STREAM. */
  streamsMax: 256,
  /** Of one stream: what may come before its reader wants more. */
  streamWindowBytes: 256 * 1024,
  /** Of all streams together that no reader took yet. */
  connectionWindowBytes: 16 * 1024 * 1024,
  /** Frames in a second that only cost: resets, pings, settings, empty ones, malformed heads. */
  floodMax: 1_000,
  /** A header block in pieces: HEADERS and CONTINUATION frames. */
  blockFramesMax: 32,
  /** Without a byte from the peer for as long, a connection with streams is asked whether it lives. Milliseconds. */
  pingAfterMs: 20_000,
  /** For the answer. Milliseconds. */
  pingMs: 10_000,
} as const;
