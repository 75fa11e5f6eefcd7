/** What a peer may make an HTTP/2 connection hold or do. Bytes unless said otherwise. */
export interface Http2Limits {
  /** SETTINGS_HEADER_TABLE_SIZE of both directions. The tokens, paths and fields that repeat between two sidecars fit into 64 KiB. */
  readonly headerTableBytes: number;
  /** Streams that the peer may have open at once. More get REFUSED_STREAM. */
  readonly streamsMax: number;
  /** Of one stream: what may come before its reader wants more. */
  readonly streamWindowBytes: number;
  /** Of all streams together that no reader took yet. */
  readonly connectionWindowBytes: number;
  /** Frames in a second that only cost: resets, pings, settings, empty ones, malformed heads. */
  readonly floodMax: number;
  /** A header block in pieces: HEADERS and CONTINUATION frames. */
  readonly blockFramesMax: number;
  /** Without a byte from the peer for as long, a connection with streams is asked whether it lives. Milliseconds. */
  readonly pingAfterMs: number;
  /** For the answer. Milliseconds. */
  readonly pingMs: number;
}

export const defaultHttp2Limits: Http2Limits = {
  headerTableBytes: 64 * 1024,
  streamsMax: 256,
  streamWindowBytes: 256 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  floodMax: 1_000,
  blockFramesMax: 32,
  pingAfterMs: 20_000,
  pingMs: 10_000,
};
