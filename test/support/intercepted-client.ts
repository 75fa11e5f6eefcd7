import { connect } from 'node:net';

/**
 * A program that knows nothing of a sidecar, in a process of its own (`fork`): as another user than the sidecar's, it connects where it is told to and
 * says what it heard. An answer of undefined: nothing came in `waitMs`.
 */
export interface Dial {
  readonly host: string;
  readonly port: number;
  readonly text: string;
  readonly waitMs: number;
}

export interface Heard {
  readonly text: string | undefined;
}

const [uid] = process.argv.slice(2);
if (uid !== undefined) {
  process.setgid?.(Number(uid));
  process.setuid?.(Number(uid));
}

process.on('message', ({ host, port, text, waitMs }: Dial) => {
  const socket = connect({ host, port });
  let heard = '';
  const answer = (text: string | undefined) => {
    clearTimeout(timer);
    socket.destroy();
    process.send?.({ text } satisfies Heard);
  };
  const timer = setTimeout(() => answer(undefined), waitMs);
  socket.once('connect', () => socket.write(text));
  socket.setEncoding('latin1').on('data', (bytes) => {
    heard += bytes;
  });
  socket.once('end', () => answer(heard));
  socket.once('error', (error) => answer(`error: ${'code' in error ? String(error.code) : error.message}`));
});
process.send?.({ text: 'ready' } satisfies Heard);
