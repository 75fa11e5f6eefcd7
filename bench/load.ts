import { randomBytes, randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { Arrivals, type ArrivalsOrder } from './arrivals.ts';
import { GrpcConnection } from './grpc-load.ts';
import { Latencies } from './latencies.ts';

/**
 * The load generator, as a process of its own: `connections` keep-alive connections with one request in flight each; closed loop, or open with
 * `perSecond`. The parent sends a `LoadOrder`; after `durationMs` it answers with a `LoadResult`. Connections stay open between orders.
 */
export interface LoadOrder {
  readonly port: number;
  readonly host: string;
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly bodyBytes: number;
  readonly fields: Readonly<Record<string, string>>;
  /** Instead of `fields`: each request takes the next ones. */
  readonly fieldSets?: readonly Readonly<Record<string, string>>[] | undefined;
  /** So many heads in turn, each with ids of a request of its own. Without it there are none but those of `fields`. */
  readonly variants?: number | undefined;
  readonly grpc?: CallsOrder | undefined;
  readonly connections: number;
  readonly durationMs: number;
  /** Requests come at random (Poisson) at this rate; each is timed from when it should have been sent, whether or not a connection was free. */
  readonly perSecond?: number | undefined;
}

/** gRPC over HTTP/2. */
export interface CallsOrder {
  /** Calls in flight on each connection. */
  readonly streams: number;
  /** How many are asked for. 0: the call is its head, and answered by one. */
  readonly messages: number;
  /** Heads are no part of any table, and read anew each time. */
  readonly isLiteral?: boolean;
}

export interface LoadResult {
  readonly requests: number;
  readonly failures: number;
  readonly elapsedMs: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
  readonly p999Millis: number;
  /** The head of the first answer that was not as expected, to say what went wrong. */
  readonly firstFailure?: string;
}

class Connection {
  readonly #socket: Socket;
  readonly #requests: readonly Buffer[];
  #next: number;
  #head = '';
  #bytesLeft = -1;
  #startedAt = 0;
  #onDone: (latencyMs: number, failure: string | undefined) => void = () => {};
  isBroken = false;

  /** `index`: among the connections of its order, each of which begins somewhere else. */
  constructor(order: LoadOrder, requests: readonly Buffer[], index: number) {
    this.#requests = requests;
    this.#next = Math.floor((index / order.connections) * requests.length);
    this.#socket = connect({ port: order.port, host: '127.0.0.1', noDelay: true });
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => this.#finish('connection closed'));
  }

  /** Sends requests one after another until `shouldStop` says so; resolves after the last answer. */
  run(shouldStop: () => boolean, record: (latencyMs: number, failure: string | undefined) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#onDone = (latencyMs, failure) => {
        record(latencyMs, failure);
        if (this.isBroken || shouldStop()) resolve();
        else this.#send();
      };
      this.#send();
    });
  }

  /** One request that should have been sent at `dueAt`. */
  sendOne(dueAt: number, onDone: (latencyMs: number, failure: string | undefined) => void): void {
    this.#onDone = (_, failure) => onDone(performance.now() - dueAt, failure);
    this.#send();
  }

  #send(): void {
    this.#startedAt = performance.now();
    this.#head = '';
    this.#bytesLeft = -1;
    this.#socket.write(this.#requests[this.#next]!);
    this.#next = (this.#next + 1) % this.#requests.length;
  }

  #onData(chunk: Buffer): void {
    if (this.#bytesLeft < 0) {
      this.#head += chunk.toString('latin1');
      const end = this.#head.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = /\r\ncontent-length: ?(\d+)/i.exec(this.#head.slice(0, end + 2))?.[1];
      this.#bytesLeft = Number(length ?? 0) - (this.#head.length - end - 4);
    } else {
      this.#bytesLeft -= chunk.length;
    }
    if (this.#bytesLeft > 0) return;
    const isSuccess = this.#head.startsWith('HTTP/1.1 2');
    this.#onDone(performance.now() - this.#startedAt, isSuccess ? undefined : this.#head.slice(0, 400));
  }

  #finish(failure: string): void {
    this.isBroken = true;
    this.#onDone(performance.now() - this.#startedAt, failure);
  }
}

function requestBytes(order: LoadOrder, own: Readonly<Record<string, string>>): Buffer {
  const fields = {
    host: order.host,
    ...own,
    ...(order.bodyBytes > 0 ? { 'content-length': String(order.bodyBytes) } : {}),
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `${order.method} ${order.path} HTTP/1.1\r\n${lines.join('')}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.alloc(order.bodyBytes, 'y')]);
}

function requestsOf(order: LoadOrder): readonly Buffer[] {
  const { fields, fieldSets = [fields], variants } = order;
  const sets =
    variants === undefined ? fieldSets : Array.from({ length: variants }, () => ({ ...fields, ...newIds() }));
  return sets.map((set) => requestBytes(order, set));
}

/** What differs from one request to the next in fields that gateways and tracing add. */
function newIds(): Readonly<Record<string, string>> {
  const [trace, span] = [randomBytes(16), randomBytes(8)].map((bytes) => bytes.toString('hex'));
  return { 'x-request-id': randomUUID(), traceparent: `00-${trace}-${span}-01` };
}

const arrivals = new Arrivals();
const pools = new Map<string, { readonly isBroken: boolean }[]>();

async function carryOut(order: LoadOrder): Promise<LoadResult> {
  if (order.grpc !== undefined) {
    const calling = connectionsFor(order, () => new GrpcConnection(order));
    return closedLoop(calling, order);
  }
  const requests = requestsOf(order);
  const connections = connectionsFor(order, (index) => new Connection(order, requests, index));
  const { perSecond, durationMs } = order;
  if (perSecond === undefined) return closedLoop(connections, order);
  const latencies = new Latencies();
  await openLoop(connections, { perSecond, durationMs }, latencies.record);
  return latencies.result();
}

async function closedLoop(
  connections: readonly (Connection | GrpcConnection)[],
  { durationMs }: LoadOrder,
): Promise<LoadResult> {
  const latencies = new Latencies();
  const isOver = () => latencies.elapsedMs >= durationMs;
  await Promise.all(connections.map((connection) => connection.run(isOver, latencies.record)));
  return latencies.result();
}

/** Those of the last order of its kind, and new ones for any that broke. */
function connectionsFor<T extends { readonly isBroken: boolean }>(order: LoadOrder, open: (index: number) => T): T[] {
  const key = JSON.stringify({ ...order, durationMs: 0 });
  const kept = ((pools.get(key) ?? []) as T[]).filter(({ isBroken }) => !isBroken);
  const connections = Array.from({ length: order.connections }, (_, index) => kept[index] ?? open(index));
  pools.set(key, connections);
  return connections;
}

/** Requests wait for a free connection in the order in which they were due. */
function openLoop(
  connections: readonly Connection[],
  order: ArrivalsOrder,
  record: (latencyMs: number, failure: string | undefined) => void,
): Promise<void> {
  return new Promise((resolve) => {
    const free = [...connections];
    const waiting: number[] = [];
    let isOver = false;
    const serve = () => {
      while (free.length > 0 && waiting.length > 0) {
        const connection = free.pop()!;
        connection.sendOne(waiting.shift()!, (latencyMs, failure) => {
          record(latencyMs, failure);
          free.push(connection);
          serve();
        });
      }
      if (isOver && free.length === connections.length) resolve();
    };
    arrivals.begin(order, (dueAt) => {
      if (dueAt === undefined) isOver = true;
      else waiting.push(dueAt);
      serve();
    });
  });
}

process.on('message', (order: LoadOrder) => void carryOut(order).then((result) => process.send?.(result)));
process.on('disconnect', () => process.exit(0));
