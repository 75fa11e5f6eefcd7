import type { Socket } from 'node:net';
import type { Clock } from '#runtime/clock.ts';

/** Takes the connections of a TLS port whose client begins without TLS. */
export interface PlaintextEntry {
  /** Connections that it has, bounded like those of the mesh. */
  readonly size: number;
  /** Asked for each connection that comes. While it is not, nobody looks at first bytes, and what is no TLS fails as a handshake. */
  isOpen(): boolean;
  /** After so many milliseconds a client that says nothing is taken for one without TLS whose server speaks first. Undefined: it never is. */
  silenceMs(socket: Socket): number | undefined;
  /** The socket is paused, and all that the client has sent is still to be read. */
  onConnection(socket: Socket): void;
}

/** How a client began; `nothing`: it is gone. */
type Beginning = 'tls' | 'plaintext' | 'nothing';

/** The type of a TLS record that holds a handshake (RFC 8446 5.1). No request of HTTP begins with this byte. */
const handshakeRecord = 0x16;

/** Tells once how the client begins, and leaves the socket paused with nothing taken from it. How long it is waited for is for the caller to bound. */
export function onBeginning(
  socket: Socket,
  { clock, silenceMs }: { readonly clock: Clock; readonly silenceMs: number | undefined },
  tell: (beginning: Beginning) => void,
): void {
  const end = (beginning: Beginning, begun?: Buffer) => {
    silence?.cancel();
    socket.off('data', onData).off('end', onGone).off('close', onGone);
    socket.pause();
    if (begun !== undefined) socket.unshift(begun);
    tell(beginning);
  };
  const onData = (chunk: Buffer) => end(chunk[0] === handshakeRecord ? 'tls' : 'plaintext', chunk);
  const onGone = () => end('nothing');
  const silence = silenceMs === undefined ? undefined : clock.schedule(silenceMs, () => end('plaintext'));
  socket.on('data', onData).on('end', onGone).on('close', onGone);
}
