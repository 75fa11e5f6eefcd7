// An application that knows nothing of a mesh: HTTP, and the health check of gRPC, on the address and port that the environment names. It says what it received, and ends as it should.
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';

const { HOST = '127.0.0.1', PORT = '8080', GRPC_PORT, POD } = process.env;
const received = new Map();

const server = createServer((request, response) => {
  received.set(request.url, (received.get(request.url) ?? 0) + 1);
  if (request.url === '/received') return response.end(JSON.stringify(Object.fromEntries(received)));
  // Long enough that a rolling update meets requests in flight.
  setTimeout(() => response.end(JSON.stringify({ pod: POD, url: request.url, headers: request.headers })), 20);
});
server.listen(Number(PORT), HOST, () => console.log(`listening on ${HOST}:${PORT}`));

if (GRPC_PORT !== undefined) {
  // `grpc.health.v1.Health/Check` by hand: a message of two bytes, field 1 is SERVING.
  createHttp2Server()
    .on('stream', (stream, headers) => {
      received.set(headers[':path'], (received.get(headers[':path']) ?? 0) + 1);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
    })
    .listen(Number(GRPC_PORT), HOST);
}

process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
