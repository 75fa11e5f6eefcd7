import type { TLSSocket } from 'node:tls';
import { listenMtls, type Refusal } from '#net/accept.ts';
import type { ListenLimits } from '#net/listen-limits.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import type { VerifiedPeer } from '#net/verified-peer.ts';
import type { Watch } from '#runtime/watch.ts';
import type { ExchangeHandler, Protocol } from '#wire/exchange.ts';
import { meshProtocols } from '#wire/mesh-upstreams.ts';
import { negotiatedProtocol } from '#wire/negotiated-protocol.ts';
import { type ServeOptions, type ServerConnection, serveConnection, streamsOf } from '#wire/server-connection.ts';
import type { PlaintextConnections } from './plaintext-connections.ts';

interface MeshListenerOptions extends Omit<ServeOptions<VerifiedPeer>, 'onClose'> {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  readonly identity: Watch<TlsIdentity>;
  /** Other threads listen there too. */
  readonly reusePort?: boolean;
  /** Callers without TLS. */
  readonly plaintext?: PlaintextConnections;
  readonly listenLimits?: Partial<ListenLimits>;
  /** A peer whose certificate is not right, or one too many. */
  readonly onPeerRefused: (refusal: Refusal) => void;
  /** `handshakeMs`: from accepting the connection to the end of its handshake. */
  readonly onPeerAccepted?: (socket: TLSSocket, protocol: Protocol, peer: VerifiedPeer, handshakeMs: number) => void;
}

export interface MeshListener extends AsyncDisposable {
  readonly address: { readonly host: string; readonly port: number };
  readonly connections: number;
  /** HTTP/2 streams that are open. */
  readonly streams: number;
  /** Accepts nothing more; what is in flight may take `graceMs` to end. */
  close(graceMs: number): Promise<void>;
}

/**
 * Serves HTTP to peers that proved who they are. A connection whose certificate ends, or whose root is no longer trusted, is told so
 * (GOAWAY, `Connection: close`) and ends after what is in flight.
 */
export async function listenMesh(
  handler: ExchangeHandler<VerifiedPeer>,
  options: MeshListenerOptions,
): Promise<MeshListener> {
  const { host, port, identity, clock, plaintext, reusePort = false } = options;
  const serving = new Map<TLSSocket, ServerConnection>();
  const listener = await listenMtls({
    host,
    port,
    reusePort,
    identity,
    clock,
    alpn: meshProtocols,
    anonymous: 'refuse',
    plaintext,
    ...(options.listenLimits && { limits: options.listenLimits }),
    onRefused: options.onPeerRefused,
    onConnection: ({ socket, peer }, handshakeMs) => {
      const onClose = () => void serving.delete(socket);
      const protocol = negotiatedProtocol(socket);
      options.onPeerAccepted?.(socket, protocol, peer, handshakeMs);
      serving.set(socket, serveConnection(socket, peer, handler, { ...options, protocol, onClose }));
    },
    onDrain: ({ socket }) => serving.get(socket)?.drain(),
  });
  const close = async (graceMs: number) => {
    await Promise.all([listener.close(graceMs), plaintext?.close(graceMs)]);
  };
  return {
    address: listener.address,
    get connections() {
      return serving.size;
    },
    get streams() {
      return streamsOf(serving.values());
    },
    close,
    [Symbol.asyncDispose]: () => close(0),
  };
}
