import { connect, type Socket } from 'node:net';

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
  readonly connections: number;
  readonly durationMs: number;
  /** Requests come at random (Poisson) at this rate; each is timed from when it should have been sent, whether or not a connection was free. */
  readonly perSecond?: number | undefined;
}

export interface LoadResult {
  readonly requests: number;
  readonly failures: number;
  readonly elapsedMs: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
  readonly p999Millis: number;
  /** The head of the first answer that was not a 2xx, to say what went wrong. */
  readonly firstFailure?: string;
}

class Connection {
  readonly #socket: Socket;
  readonly #request: Buffer;
  #head = '';
  #bytesLeft = -1;
  #startedAt = 0;
  #onDone: (latencyMs: number, failure: string | undefined) => void = () => {};
  isBroken = false;

  constructor(order: LoadOrder) {
    this.#request = requestBytes(order);
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
    this.#socket.write(this.#request);
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

function requestBytes(order: LoadOrder): Buffer {
  const fields = {
    host: order.host,
    ...order.fields,
    ...(order.bodyBytes > 0 ? { 'content-length': String(order.bodyBytes) } : {}),
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `${order.method} ${order.path} HTTP/1.1\r\n${lines.join('')}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.alloc(order.bodyBytes, 'y')]);
}

const pools = new Map<string, Connection[]>();

async function carryOut(order: LoadOrder): Promise<LoadResult> {
  seed = order.perSecond ?? 1;
  const key = JSON.stringify(order);
  const kept = (pools.get(key) ?? []).filter((connection) => !connection.isBroken);
  const connections = Array.from({ length: order.connections }, (_, index) => kept[index] ?? new Connection(order));
  pools.set(key, connections);
  const latencies: number[] = [];
  let failures = 0;
  let firstFailure: string | undefined;
  const start = performance.now();
  const isOver = () => performance.now() - start >= order.durationMs;
  const record = (latencyMs: number, failure: string | undefined) => {
    if (failure === undefined) {
      latencies.push(latencyMs);
      return;
    }
    failures++;
    firstFailure ??= failure;
  };
  if (order.perSecond === undefined) {
    await Promise.all(connections.map((connection) => connection.run(isOver, record)));
  } else await openLoop(connections, order.perSecond, isOver, record);
  const elapsedMs = performance.now() - start;
  const sorted = Float64Array.from(latencies).sort();
  const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
  return {
    requests: latencies.length,
    failures,
    elapsedMs,
    p50Millis: quantile(0.5),
    p99Millis: quantile(0.99),
    p999Millis: quantile(0.999),
    ...(firstFailure === undefined ? {} : { firstFailure }),
  };
}

/** Requests wait for a free connection in the order in which they were due. */
function openLoop(
  connections: readonly Connection[],
  perSecond: number,
  isOver: () => boolean,
  record: (latencyMs: number, failure: string | undefined) => void,
): Promise<void> {
  return new Promise((resolve) => {
    const free = [...connections];
    const waiting: number[] = [];
    let nextAt = performance.now();
    const serve = () => {
      while (free.length > 0 && waiting.length > 0) {
        const connection = free.pop()!;
        connection.sendOne(waiting.shift()!, (latencyMs, failure) => {
          record(latencyMs, failure);
          free.push(connection);
          serve();
        });
      }
    };
    // Timers of a millisecond would send in bursts: the turns of the loop are its clock.
    const turn = () => {
      if (isOver()) return end();
      for (const now = performance.now(); nextAt <= now; nextAt += (-Math.log(1 - random()) / perSecond) * 1000) {
        waiting.push(nextAt);
      }
      serve();
      setImmediate(turn);
    };
    const end = () => {
      if (free.length === connections.length && waiting.length === 0) resolve();
      else setTimeout(end, 5);
    };
    turn();
  });
}

/** The same arrivals for every candidate of a run (mulberry32). */
let seed = 1;
function random(): number {
  seed = (seed + 0x6d2b_79f5) | 0;
  let x = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
  return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
}

process.on('message', (order: LoadOrder) => void carryOut(order).then((result) => process.send?.(result)));
process.on('disconnect', () => process.exit(0));
