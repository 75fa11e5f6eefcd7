import { createServer } from 'node:net';

/** Below the range from which systems take ports for outgoing connections: there a free port is soon somebody's, under load within a second. */
const ports = { first: 18_000, count: 14_000 };

/** A port that was free a moment ago, for what must know its port before it listens. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = ports.first + Math.floor(Math.random() * ports.count);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
