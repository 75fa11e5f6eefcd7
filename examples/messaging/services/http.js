import { createServer, request } from 'node:http';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { stopWithParent } from './stop.js';

/*
 * What the services of HTTP have in common. They are plain HTTP servers: they call each other by name through the proxy that HTTP_PROXY names, as
 * any program does (NODE_USE_ENV_PROXY), and pass the trace context of the request they serve on to the calls that it causes, as every
 * OpenTelemetry SDK does.
 */

const lines = 'application/x-ndjson';

/**
 * Serves `routes`: [method, path pattern, handler(match, body, received)] with handlers that return [status, value]. A value that can be iterated
 * over is lines of JSON, sent as they come.
 */
export function serve(name, routes) {
  const server = createServer(async (received, response) => {
    const [status, value] = await answer(routes, received);
    const isLines = value[Symbol.asyncIterator] !== undefined;
    response.writeHead(status, { 'content-type': isLines ? lines : 'application/json' });
    if (!isLines) response.end(`${JSON.stringify(value)}\n`);
    // Whoever goes away in the middle has heard enough; what breaks on the way here breaks there.
    else await pipeline(Readable.from(value), response).catch(() => response.destroy());
  });
  server.on('error', (error) => {
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  });
  server.listen(Number(process.env.PORT), '127.0.0.1');
  stopWithParent(() => server.close(() => process.exit(0)).closeIdleConnections());
}

async function answer(routes, received) {
  try {
    const body = await text(received);
    for (const [method, pattern, handle] of routes) {
      const match = pattern.exec(received.url);
      if (match !== null && method === received.method) {
        return await handle(match, body === '' ? undefined : JSON.parse(body), received);
      }
    }
    return [404, { error: 'no such path' }];
  } catch (error) {
    return [500, { error: error.message }];
  }
}

/** Calls another service on behalf of `received`; resolves to [status, value], as handlers return it. */
export function call(received, method, url, value) {
  const { traceparent, tracestate } = received.headers;
  const headers = {
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
    ...(value !== undefined && { 'content-type': 'application/json' }),
  };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, async (response) => {
      try {
        const isLines = response.headers['content-type'] === lines;
        resolve([response.statusCode, isLines ? response : JSON.parse(await text(response))]);
      } catch (error) {
        reject(error);
      }
    });
    sent.on('error', reject);
    sent.end(value === undefined ? undefined : JSON.stringify(value));
  });
}
