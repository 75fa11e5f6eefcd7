import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { TrustBundles } from '#certs/trust-bundle.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError, isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { Watch } from '#runtime/watch.ts';
import { ConnectionGuard, type DrainReason, drainGraceMs, type MtlsConnection } from './connection-guard.ts';
import { PeerRefused } from './peer-refused.ts';
import { withSharedReads } from './shared-reads.ts';
import { type AnonymousIdentity, clientContext } from './tls-context.ts';
import { ownNotAfter, type TlsIdentity } from './tls-identity.ts';
import { type ExpectedPeer, verifyPeer } from './verified-peer.ts';

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  /** Without an SVID (`{ bundles }`) nothing is presented: for the join, at servers that allow it. */
  readonly identity: Watch<TlsIdentity | AnonymousIdentity>;
  /** Who must answer. There is no default: a client always knows whom it calls. */
  readonly expect: ExpectedPeer;
  /** Protocols to offer, the preferred first; the server must choose one (`socket.alpnProtocol`). */
  readonly alpn: readonly string[];
  readonly clock: Clock;
  /** For connection and handshake together. Default 5 seconds. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called once when the connection has to end: stop using it, end it; it is destroyed after `drainGraceMs`. */
  readonly onDrain?: (reason: DrainReason) => void;
  /** Default 10 seconds. */
  readonly drainGraceMs?: number;
}

const dialTimeoutMs = 5_000;
/** Finds a peer that went away without a word, in about two minutes, where nothing is being sent. */
const keepAliveMs = 30_000;

/**
 * Connects, shakes hands, and returns only when the other end is who it must be. The socket is the caller's from then on; it has
 * an 'error' handler, so that a reset connection is a 'close' and never the end of the process.
 * @throws PeerRefused (`peer_refused`) with the rule that is broken; CellmeshError `dial_failed`, `dial_timeout` (retryable); the
 * signal's reason when aborted
 */
export function dialMtls(options: DialOptions): Promise<MtlsConnection> {
  const { clock, signal, timeoutMs = dialTimeoutMs } = options;
  const where = `${options.host}:${options.port}`;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const identity = options.identity.current;
    const socket = openSocket(options, identity);
    const settle = (finish: () => void) => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      finish();
    };
    const fail = (error: unknown) =>
      settle(() => {
        socket.destroy();
        reject(error);
      });
    const onAbort = () => fail(signal?.reason);
    const timer = clock.schedule(timeoutMs, () => {
      fail(
        new CellmeshError('dial_timeout', `${where} did not complete a handshake in ${timeoutMs} ms`, {
          retryable: true,
        }),
      );
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    // The handler stays for the socket's whole life: after the promise is settled, `reject` is without effect.
    socket.on('error', (error) => fail(dialFailed(where, error)));
    socket.once('close', () => fail(dialFailed(where, new Error('the connection was closed during the handshake'))));
    socket.once('secureConnect', () => {
      try {
        const connection = establish(options, identity, socket);
        settle(() => resolve(connection));
      } catch (error) {
        fail(isCellmeshError(error) ? error : dialFailed(where, error));
      }
    });
  });
}

function openSocket(options: DialOptions, identity: TlsIdentity | AnonymousIdentity): TLSSocket {
  const target = {
    host: options.host,
    port: options.port,
    secureContext: clientContext(identity),
    ALPNProtocols: [...options.alpn],
    // A name in the clear would tell who is called, and choose nothing: peers are told apart by SPIFFE ID alone.
    servername: '',
    checkServerIdentity: () => undefined,
    // Not to accept more, but to say why not: `verifyPeer` demands OpenSSL's consent too.
    rejectUnauthorized: false,
  };
  return withSharedReads((onread) => {
    // `tls.connect` takes what `net.connect` takes; its types do not say so.
    const dialing: ConnectionOptions = Object.assign(target, { onread });
    return connect(dialing);
  })
    .setNoDelay(true)
    .setKeepAlive(true, keepAliveMs);
}

function establish(options: DialOptions, identity: TlsIdentity | AnonymousIdentity, socket: TLSSocket): MtlsConnection {
  const { clock, alpn, expect, onDrain } = options;
  // Bundles may have changed during the handshake: the newest decide.
  const bundles: TrustBundles = options.identity.current.bundles;
  const { peer, svid } = verifyPeer(socket, bundles, clock.now(), expect);
  if (typeof socket.alpnProtocol !== 'string' || !alpn.includes(socket.alpnProtocol)) {
    throw new PeerRefused('alpn', `the peer chose none of ${alpn.join(', ')}`);
  }
  new ConnectionGuard({
    socket,
    svid,
    ownNotAfter: identity.svid === undefined ? undefined : ownNotAfter(identity),
    bundles: options.identity,
    clock,
    graceMs: options.drainGraceMs ?? drainGraceMs,
    isDialed: true,
    onDrain: onDrain ?? (() => undefined),
  });
  return Object.freeze({ socket, peer });
}

function dialFailed(where: string, cause: unknown): CellmeshError {
  return new CellmeshError('dial_failed', `${where}: ${messageOf(cause)}`, { cause, retryable: true });
}
