import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { ListenOptions } from 'node:net';
import { CellmeshError, messageOf } from './errors.ts';

/** An import would name everything that is exported, and with that load Node's fetch and its WebSocket: 30 ms and 16 MB. */
const { createServer } = process.getBuiltinModule('node:http');

interface LocalAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Answers one request; undefined is a 404. HEAD is a GET to it, and POST comes only to servers that take it. */
export type LocalRoutes = (
  path: string,
  method: 'GET' | 'POST',
) => Promise<LocalAnswer | undefined> | LocalAnswer | undefined;

export interface LocalServer extends AsyncDisposable {
  /** 0 for a Unix socket. */
  readonly port: number;
}

/** These servers answer kubelets, scrapers and operators, not customers. */
const connectionsMax = 64;
const requestTimeoutMs = 5_000;
const headBytesMax = 8 * 1024;

/**
 * A small HTTP server for the pod's own surroundings: probes, metrics, the admin socket. Never the request path, so node:http is the
 * plainest thing that works.
 * @throws CellmeshError `port_taken`
 */
export async function startLocalServer(
  listen: ListenOptions,
  routes: LocalRoutes,
  methods: readonly string[] = ['GET', 'HEAD'],
): Promise<LocalServer> {
  const server = createServer(
    { maxHeaderSize: headBytesMax, requestTimeout: requestTimeoutMs },
    (request, response) => void answer(request, response, routes, methods),
  );
  server.maxConnections = connectionsMax;
  await listening(server, listen);
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function json(status: number, value: unknown): LocalAnswer {
  return { status, contentType: 'application/json', body: `${JSON.stringify(value, undefined, 2)}\n` };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: LocalRoutes,
  methods: readonly string[],
): Promise<void> {
  request.resume();
  const { method = '' } = request;
  const found = methods.includes(method)
    ? await resultOf(request, routes)
    : json(405, { error: `only ${methods.join(', ')}` });
  response.writeHead(found.status, {
    'content-type': found.contentType,
    'content-length': Buffer.byteLength(found.body),
  });
  response.end(request.method === 'HEAD' ? undefined : found.body);
}

async function resultOf({ method, url }: IncomingMessage, routes: LocalRoutes): Promise<LocalAnswer> {
  try {
    return (
      (await routes((url ?? '/').split('?', 1)[0]!, method === 'POST' ? 'POST' : 'GET')) ??
      json(404, { error: 'no such path' })
    );
  } catch {
    return json(500, { error: 'internal' });
  }
}

function listening(server: Server, listen: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const where = listen.path ?? `${listen.host}:${listen.port}`;
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === 'EADDRINUSE'
          ? new CellmeshError('port_taken', `${where} is in use by another program; stop it or set another one`, {
              cause,
            })
          : new CellmeshError('start_failed', `cannot listen on ${where}: ${messageOf(cause)}`, { cause }),
      );
    });
    server.listen(listen, resolve);
  });
}
