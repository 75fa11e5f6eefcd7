import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { WebSocket } from 'ws';

/** What a process holds when all garbage is collected, in megabytes of 2^20 bytes. */
export interface HeldMemory {
  readonly heapMegabytes: number;
  /** Buffers outside the heap. */
  readonly externalMegabytes: number;
  /** By the kernel's account; NaN where the system has no /proc. */
  readonly residentMegabytes: number;
}

export interface OpenInProcess {
  /** Open files and sockets; NaN where the system has no /proc. */
  readonly descriptors: number;
  /** Streams of HTTP/2 that are alive in the heap. */
  readonly streams: number;
}

/** A process that was started with `--inspect`. */
export interface Inspected {
  readonly pid: number;
  /** What it has written to standard error, where Node says the inspector's address. */
  readonly log: () => string;
}

const streamFile = resolve(import.meta.dirname, '../../src/wire/http2/stream.ts');
/** The module that the process has loaded already: `require` finds it where `import` put it. */
const streamPrototype = `process.getBuiltinModule('node:module').createRequire(${JSON.stringify(streamFile)})(${JSON.stringify(streamFile)}).Http2Stream.prototype`;

/** Collects garbage in another process and reads what is left, through V8's inspector: the process needs no code for it. */
export async function memoryAfterCollection(inspected: Inspected): Promise<HeldMemory> {
  await using session = await InspectorSession.open(inspected);
  await session.send('HeapProfiler.collectGarbage');
  const memory = JSON.parse(String(await session.evaluate('JSON.stringify(process.memoryUsage())'))) as {
    heapUsed: number;
    external: number;
  };
  return {
    heapMegabytes: memory.heapUsed / 2 ** 20,
    externalMegabytes: memory.external / 2 ** 20,
    residentMegabytes: residentMegabytesOf(inspected.pid),
  };
}

/** Bytes of its heap that only a full collection looks at, garbage that waits for one included. */
export async function oldGenerationBytes(inspected: Inspected): Promise<number> {
  await using session = await InspectorSession.open(inspected);
  const sizes = "process.getBuiltinModule('node:v8').getHeapSpaceStatistics()";
  const isOld = "({ space_name: name }) => name === 'old_space'";
  return Number(await session.evaluate(`${sizes}.find(${isOld}).space_used_size`));
}

/** Halts the process for about a second, as it looks at its whole heap. */
export async function openIn(inspected: Inspected): Promise<OpenInProcess> {
  await using session = await InspectorSession.open(inspected);
  const streams = await session.instancesOf(streamPrototype);
  return { descriptors: descriptorsOf(inspected.pid), streams };
}

/** One connection of the Chrome DevTools protocol. */
class InspectorSession implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>();
  #sent = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => {
      const { id, result, error } = JSON.parse(String(data));
      if (error === undefined) this.#waiting.get(id)?.resolve(result);
      else this.#waiting.get(id)?.reject(new Error(error.message));
      this.#waiting.delete(id);
    });
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the inspector went away'));
    });
  }

  static async open({ log }: Inspected): Promise<InspectorSession> {
    const url = /Debugger listening on (ws:\S+)/.exec(log())?.[1];
    if (url === undefined) throw new Error(`the process has no inspector: ${log()}`);
    const socket = new WebSocket(url, { perMessageDeflate: false });
    await once(socket, 'open');
    return new InspectorSession(socket);
  }

  send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = ++this.#sent;
    const waiting = Promise.withResolvers<Record<string, unknown>>();
    this.#waiting.set(id, waiting);
    this.#socket.send(JSON.stringify({ id, method, params }));
    return waiting.promise;
  }

  async evaluate(expression: string): Promise<unknown> {
    return ((await this.#evaluated(expression, { returnByValue: true })) as { value: unknown }).value;
  }

  /** After a collection: those that somebody holds. */
  async instancesOf(prototype: string): Promise<number> {
    const objectGroup = 'instances';
    await this.send('HeapProfiler.collectGarbage');
    const { objectId } = (await this.#evaluated(prototype, { objectGroup })) as { objectId: string };
    const { objects } = (await this.send('Runtime.queryObjects', { prototypeObjectId: objectId, objectGroup })) as {
      objects: { objectId: string };
    };
    const { result } = (await this.send('Runtime.callFunctionOn', {
      objectId: objects.objectId,
      functionDeclaration: 'function () { return this.length; }',
      returnByValue: true,
    })) as { result: { value: number } };
    await this.send('Runtime.releaseObjectGroup', { objectGroup });
    return result.value;
  }

  async #evaluated(expression: string, options: Record<string, unknown>): Promise<unknown> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, ...options });
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }
}

function residentMegabytesOf(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}

function descriptorsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return Number.NaN;
  }
}
