import http from 'node:http';
import type { AddressInfo } from 'node:net';

/** A backend on node:http, an independent implementation of the same protocol. */
export async function startNodeBackend(
  handler: http.RequestListener,
): Promise<AsyncDisposable & { readonly port: number; readonly server: http.Server }> {
  const server = http.createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    server,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
