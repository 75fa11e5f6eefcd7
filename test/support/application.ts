import { createServer, type IncomingHttpHeaders, request } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';

export interface ReceivedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Names and values as they came, in order. */
  readonly rawHeaders: readonly string[];
  /** Names and values of the trailer section. */
  readonly rawTrailers: readonly string[];
  readonly body: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers?: IncomingHttpHeaders | Record<string, string | string[]>;
  readonly body: string;
}

export interface Application extends AsyncDisposable {
  readonly port: number;
  /** Every request that reached the application whole, oldest first. */
  readonly received: readonly ReceivedRequest[];
}

export type Handler = (received: ReceivedRequest) => Promise<HttpAnswer> | HttpAnswer;

/** A plain HTTP service that knows nothing of a mesh; without a handler it answers 200 with what it received. */
export async function startApplication(handler: Handler = echo, host = '127.0.0.1', port = 0): Promise<Application> {
  const received: ReceivedRequest[] = [];
  const server = createServer({ keepAliveTimeout: 60_000 }, async (incoming, response) => {
    try {
      const body = Buffer.concat(await incoming.toArray()).toString();
      const { method = '', url = '', headers, rawHeaders, rawTrailers } = incoming;
      const record = { method, url, headers, rawHeaders, rawTrailers, body };
      received.push(record);
      const answer = await handler(record);
      response.writeHead(answer.status, answer.headers);
      response.end(answer.body);
    } catch (error) {
      response.writeHead(500);
      response.end(String(error));
    }
  });
  // Any WebSocket is given back what it says.
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('message', (data, binary) => socket.send(data, { binary }));
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const address = server.address() as { port: number };
  return {
    port: address.port,
    received,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        for (const socket of sockets.clients) socket.terminate();
      }),
  };
}

export interface HttpCall {
  readonly port?: number;
  readonly host?: string;
  /** The `Host` field; default `host:port`. */
  readonly authority?: string;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string;
  /** An open connection to use in place of a new one. */
  readonly socket?: Duplex;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

/** One request over a connection of its own, with the path as it is given: no client normalises it. */
export function callHttp({
  port = 80,
  host = '127.0.0.1',
  authority,
  body,
  socket,
  ...call
}: HttpCall): Promise<HttpResponse> {
  const { method = body === undefined ? 'GET' : 'POST', path = '/', headers = {} } = call;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host,
        port,
        method,
        path,
        headers: { ...(authority && { host: authority }), ...headers },
        ...(socket === undefined ? { agent: false } : { createConnection: () => socket }),
      },
      async (response) => {
        try {
          const bytes = Buffer.concat(await response.toArray());
          const { statusCode = 0, rawHeaders } = response;
          resolve({ status: statusCode, headers: response.headers, rawHeaders, body: bytes.toString() });
        } catch (error) {
          reject(error);
        }
      },
    );
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

/** What OpenTelemetry's propagator does with what a request came with; new spans do not matter here. */
export function traceContextOf({ headers }: Pick<ReceivedRequest, 'headers'>): Record<string, string> {
  const { traceparent, tracestate } = headers;
  return {
    ...(typeof traceparent === 'string' && { traceparent }),
    ...(typeof tracestate === 'string' && { tracestate }),
  };
}

function echo(received: ReceivedRequest): HttpAnswer {
  return { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(received) };
}
