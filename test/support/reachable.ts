import { once } from 'node:events';
import { connect } from 'node:net';

/** Resolves when somebody accepts connections on that port of loopback, rejects when nobody does; for `eventually`. */
export async function reachable(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
}
