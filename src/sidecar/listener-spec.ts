import type { SpiffeId } from '#certs/spiffe-id.ts';

export interface ListenAddress {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
}

/** A port of a sidecar, and what comes in by it. Plain data: every thread that serves requests opens it for itself. */
export type ListenerSpec =
  /** The mesh, over mutual TLS. */
  | ({ readonly tag: 'mesh' } & ListenAddress)
  /** The application's calls to whatever host they name. */
  | ({ readonly tag: 'proxy' } & ListenAddress)
  /** The application's calls to one callee, opaque where its first port is `protocol: tcp`. */
  | ({ readonly tag: 'callee'; readonly callee: SpiffeId; readonly isOpaque: boolean } & ListenAddress)
  /** What a packet filter redirects. */
  | ({ readonly tag: 'intercepted' } & ListenAddress);

export interface OpenListener extends AsyncDisposable {
  readonly port: number;
  /** Accepts nothing more, lets what is in flight end for at most `graceMs`, then cuts off the rest. */
  close(graceMs: number): Promise<void>;
}
