import type { IncomingMessage } from 'node:http';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError, isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Watch } from '#runtime/watch.ts';
import {
  type AdmissionRequest,
  type AdmissionResponse,
  admissionReviewText,
  readAdmissionReview,
  reviewBytesMax,
} from './admission-review.ts';
import type { WebhookMetrics } from './webhook-metrics.ts';

/** Node's fetch would come along with an import: see runtime/local-server.ts. */
const { createServer } = process.getBuiltinModule('node:https');

/** PEM. */
export interface ServerCertificate {
  readonly chain: string;
  readonly key: string;
}

export interface Verdict extends AdmissionResponse {
  /** For metrics. */
  readonly outcome: string;
}

interface WebhookServerOptions {
  readonly host: string;
  readonly port: number;
  /** Each new one is shown from the next handshake on; connections that are open stay. */
  readonly certificate: Watch<ServerCertificate>;
  /** By path: what becomes of an object. */
  readonly webhooks: ReadonlyMap<string, (request: AdmissionRequest) => Verdict>;
  readonly metrics: WebhookMetrics;
  readonly limits?: Partial<Record<keyof typeof webhookLimits, number>>;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface WebhookServer extends AsyncDisposable {
  readonly port: number;
}

/** What callers can make grow. */
const webhookLimits = {
  /** An API server opens a connection for each call that is in flight; there are three or so of them. */
  connectionsMax: 512,
  /** Of all requests that are being read. Whoever reaches the port can send: it must not cost more memory than this. */
  unreadBytesMax: 64 * 1024 * 1024,
  /** The API server gives up after `timeoutSeconds`, 5 of them. */
  requestTimeoutMs: 10_000,
} as const;
const headersTimeoutMs = 5_000;
const handshakeTimeoutMs = 5_000;
/** Longer than Go's clients keep an idle connection (90 s): they end it, and never find it ended under a request. */
const keepAliveMs = 120_000;
const headBytesMax = 16 * 1024;
/** For calls in flight, once the server closes. */
const closeMsMax = 5_000;

/** Of bytes that are being read, on all connections. */
interface Budget {
  bytes: number;
  readonly bytesMax: number;
}

/** What an HTTP client is told that sends no review. */
class Unreadable extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * HTTPS for the API server's calls. What cannot be read is refused with a status of HTTP, which the API server treats as a call that failed.
 * @throws CellmeshError `port_taken`, `start_failed`
 */
export async function startWebhookServer(options: WebhookServerOptions): Promise<WebhookServer> {
  const { certificate, host, port, clock } = options;
  const { connectionsMax, unreadBytesMax, requestTimeoutMs } = { ...webhookLimits, ...options.limits };
  const budget: Budget = { bytes: 0, bytesMax: unreadBytesMax };
  const server = createServer(
    {
      ...contextOf(certificate.current),
      handshakeTimeout: handshakeTimeoutMs,
      headersTimeout: Math.min(headersTimeoutMs, requestTimeoutMs),
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: headBytesMax,
    },
    async (request, response) => {
      const { status, body, isLast } = await answer(request, options, budget);
      // A connection that stays would keep a server from closing that has no more to say on it.
      if (isLast || !server.listening) response.setHeader('connection', 'close');
      response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
      response.end(body);
    },
  );
  server.maxConnections = connectionsMax;
  server.on('tlsClientError', () => options.metrics.handshakeFailed());
  const unsubscribe = certificate.subscribe((renewed) => server.setSecureContext(contextOf(renewed)));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' ? 'port_taken' : 'start_failed';
      reject(new CellmeshError(code, `cannot listen on ${host}:${port}: ${messageOf(cause)}`, { cause }));
    });
    server.listen({ host, port }, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        unsubscribe();
        const timer = clock.schedule(closeMsMax, () => server.closeAllConnections());
        server.close(() => {
          timer.cancel();
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

function contextOf({ chain, key }: ServerCertificate) {
  return { cert: chain, key, minVersion: 'TLSv1.3' } as const;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  /** What is left of the request is not read. */
  readonly isLast?: boolean;
}

async function answer(
  request: IncomingMessage,
  { webhooks, metrics, logger, clock }: WebhookServerOptions,
  budget: Budget,
): Promise<Answer> {
  const startMs = clock.monotonic();
  const [path = ''] = (request.url ?? '').split('?', 1);
  // Names of metrics are not for whoever sends to choose.
  const webhook = webhooks.has(path) ? path.slice(1) : 'none';
  const count = (outcome: string) => metrics.answered(webhook, outcome, clock.monotonic() - startMs);
  try {
    const decide = webhooks.get(path);
    if (decide === undefined) throw new Unreadable(404, 'there is no such webhook');
    const review = readAdmissionReview(await bodyOf(request, budget));
    const verdict = decide(review);
    count(verdict.outcome);
    return { status: 200, body: admissionReviewText(review.uid, verdict) };
  } catch (error) {
    const status = statusOf(error);
    // Of somebody who has gone nothing failed here; what is said reaches nobody.
    if (request.destroyed && !request.complete) count('broken_off');
    else count(status === 500 ? 'failed' : 'unreadable');
    if (status === 500 && request.complete) logger.error('an admission request failed', { webhook, error });
    const said = status === 500 ? 'internal' : messageOf(error);
    return { status, body: JSON.stringify({ error: said }), isLast: true };
  }
}

function statusOf(error: unknown): number {
  if (error instanceof Unreadable) return error.status;
  return isCellmeshError(error, 'request_invalid') ? 400 : 500;
}

/** @throws Unreadable; whatever ends the connection */
async function bodyOf(request: IncomingMessage, budget: Budget): Promise<string> {
  const { method, headers } = request;
  if (method !== 'POST') throw new Unreadable(405, 'reviews are sent by POST');
  if (!/^application\/json *(;|$)/i.test(headers['content-type'] ?? ''))
    throw new Unreadable(415, 'reviews are application/json');
  if (headers['content-encoding'] !== undefined) throw new Unreadable(415, 'reviews are not compressed');
  if (Number(headers['content-length'] ?? 0) > reviewBytesMax) throw tooLong();
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += piece.length;
      budget.bytes += piece.length;
      if (bytes > reviewBytesMax) throw tooLong();
      if (budget.bytes > budget.bytesMax) throw new Unreadable(503, 'too much is being read; try again');
      pieces.push(piece);
    }
  } finally {
    budget.bytes -= bytes;
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(pieces));
  } catch {
    throw new Unreadable(400, 'reviews are UTF-8');
  }
}

function tooLong(): Unreadable {
  return new Unreadable(413, `reviews have at most ${reviewBytesMax} bytes`);
}
