import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { Server as GrpcServer, ServerCredentials, type ServerUnaryCall } from '@grpc/grpc-js';
import { WebSocketServer } from 'ws';
import { callHttp, traceContextOf } from '../support/application.ts';

/** What the callee's sidecar lets the caller do; anything else is denied. */
export function calleeRules({ httpPort, grpcPort, tcpPort }: Applications): readonly string[] {
  const from = 'from: [load/caller]';
  const paths = '["/bytes/*", /echo, /socket, /half, /never]';
  return [
    `{ name: bytes, ${from}, port: ${httpPort}, http: { methods: [GET, POST], paths: ${paths} }, account: none }`,
    `{ name: customer, ${from}, port: ${httpPort}, http: { methods: [GET], paths: ["/customer/*"] }, scopes: [bytes:read] }`,
    `{ name: grpc, ${from}, port: ${grpcPort}, http: { methods: [POST], paths: ["/soak.Echo/*"] }, account: none }`,
    `{ name: tcp, ${from}, port: ${tcpPort}, account: none }`,
  ];
}

const bytes = (value: Buffer): Buffer => value;
const grpcMethod = (name: string, isStream: boolean) => ({
  path: `/soak.Echo/${name}`,
  requestStream: isStream,
  responseStream: isStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
export const grpcMethods = { unary: grpcMethod('Unary', false), stream: grpcMethod('Stream', true) } as const;

export interface Applications extends AsyncDisposable {
  readonly httpPort: number;
  readonly grpcPort: number;
  readonly tcpPort: number;
  /** Of the caller's application, which calls on for a customer. */
  readonly callerPort: number;
  /** Connections that sidecars hold to them. */
  connections(): Promise<number>;
}

/** Servers that know nothing of a mesh, of libraries that are not ours. `callerOutbound` is known when the sidecars run. */
export async function startApplications(callerOutbound: () => number): Promise<Applications> {
  await using starting = new AsyncDisposableStack();
  const http = createHttpServer({ keepAliveTimeout: 60_000 }, answer);
  const sockets = new WebSocketServer({ server: http, path: '/socket' });
  sockets.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('message', (data, binary) => socket.send(data, { binary }));
  });
  const caller = createHttpServer({ keepAliveTimeout: 60_000 }, (incoming, response) =>
    callOn(incoming, response, callerOutbound()),
  );
  const tcp = createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  for (const server of [http, caller, tcp]) await listen(server, starting);
  const grpc = new GrpcServer();
  grpc.addService(grpcMethods, { unary, stream });
  starting.defer(() => grpc.forceShutdown());
  const grpcPort = await new Promise<number>((resolve, reject) => {
    grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
  const owned = starting.move();
  return {
    httpPort: portOf(http),
    callerPort: portOf(caller),
    tcpPort: portOf(tcp),
    grpcPort,
    async connections() {
      const counts = await Promise.all([http, caller, tcp].map(connectionsOf));
      return counts.reduce((sum, count) => sum + count, 0);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** `/bytes/N` gives so many, `/echo` gives back, `/half` breaks off in the middle, `/never` does not answer. */
function answer(incoming: IncomingMessage, response: ServerResponse): void {
  const { url = '' } = incoming;
  incoming.on('error', () => {});
  if (url === '/never') return void incoming.resume();
  if (url === '/half') {
    response.writeHead(200, { 'content-length': 100_000 });
    response.write(Buffer.alloc(50_000), () => response.destroy());
    return;
  }
  if (url === '/echo') {
    const { 'content-length': length } = incoming.headers;
    response.writeHead(200, length === undefined ? {} : { 'content-length': length });
    incoming.pipe(response);
    return;
  }
  incoming.resume();
  const [, size] = /^\/(?:bytes|customer)\/(\d+)$/.exec(url) ?? [];
  if (size === undefined) response.writeHead(404).end(`there is no ${url}`);
  else response.end(Buffer.alloc(Number(size), 'x'));
}

/** Serves a customer's request as an instrumented application does: with one call, under the same trace context. */
async function callOn(incoming: IncomingMessage, response: ServerResponse, port: number): Promise<void> {
  const { headers } = incoming.resume();
  try {
    const trace = traceContextOf({ headers });
    const called = await callHttp({ port, authority: 'callee', path: '/customer/100', headers: trace });
    response.writeHead(called.status).end(called.body);
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
}

function unary(call: ServerUnaryCall<Buffer, Buffer>, done: (error: null, value: Buffer) => void): void {
  // Its caller gives up; nobody hears an answer.
  if (call.request.toString('latin1') !== 'wait') done(null, call.request);
}

function stream(call: NodeJS.ReadWriteStream): void {
  call.on('error', () => {});
  call.on('data', (value: Buffer) => call.write(value));
  call.on('end', () => call.end());
}

async function listen(server: Server, owner: AsyncDisposableStack): Promise<void> {
  const open = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  owner.defer(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of open) socket.destroy();
    await closed;
  });
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}
