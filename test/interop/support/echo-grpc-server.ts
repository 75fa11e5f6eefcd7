import { type EventEmitter, once } from 'node:events';
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
  type sendUnaryData,
} from '@grpc/grpc-js';

const bytes = (value: Buffer): Buffer => value;

function method(name: string, requestStream: boolean, responseStream: boolean) {
  return {
    path: `/interop.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
}

/** The service of `echo.proto`, with messages as bytes. */
export const echo = {
  unary: method('Unary', false, false),
  collect: method('Collect', true, false),
  repeat: method('Repeat', false, true),
  chat: method('Chat', true, true),
};

export interface EchoGrpcServer extends AsyncDisposable {
  readonly port: number;
  /** Calls that their clients gave up. */
  readonly cancelled: number;
  /** Calls that are not over. */
  readonly open: number;
  /** What the last call came with. */
  readonly metadata: Metadata;
  readonly deadline: Date | number | undefined;
}

interface Call {
  readonly metadata: Metadata;
  getDeadline(): Date | number;
  sendMetadata(metadata: Metadata): void;
}

/**
 * An application by Google's library for Node. Metadata tell it what to do: `wait` never to answer, `end-with` to end with that status,
 * `repeat` how often to send a message back. What begins with `x-` comes back as metadata, and as trailers behind `trailer-`.
 */
export async function startEchoGrpcServer(): Promise<EchoGrpcServer> {
  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  const state = { cancelled: 0, metadata: new Metadata(), deadline: undefined as Date | number | undefined };

  const underWay = new Set<Call>();
  /** Whether the call is to be answered. */
  const begin = (call: Call & EventEmitter): boolean => {
    state.metadata = call.metadata;
    state.deadline = call.getDeadline();
    underWay.add(call);
    // It comes after the end of every call.
    call.once('cancelled', () => {
      if (underWay.delete(call)) state.cancelled++;
    });
    call.sendMetadata(echoed(call, ''));
    return call.metadata.get('wait').length === 0;
  };
  const failureOf = (call: Call): Partial<StatusObject> | undefined => {
    const [code] = call.metadata.get('end-with');
    if (code === undefined) return undefined;
    return { code: Number(code), details: `100 % of "${code}" – ünïcode`, metadata: echoed(call, 'trailer-') };
  };
  const answer = (call: Call, done: sendUnaryData<Buffer>, value: Buffer) => {
    underWay.delete(call);
    const failure = failureOf(call);
    if (failure === undefined) done(null, value, echoed(call, 'trailer-'));
    else done(failure);
  };
  const end = (call: ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>) => {
    underWay.delete(call);
    const failure = failureOf(call);
    if (failure === undefined) call.end(echoed(call, 'trailer-'));
    else call.emit('error', failure);
  };

  server.addService(echo, {
    unary(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      if (begin(call)) answer(call, done, call.request);
    },
    async collect(call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      if (!begin(call)) return void call.resume();
      answer(call, done, Buffer.concat(await call.toArray()));
    },
    async repeat(call: ServerWritableStream<Buffer, Buffer>) {
      const isToEnd = begin(call);
      const gone = new AbortController();
      call.once('cancelled', () => gone.abort());
      for (let left = Number(call.metadata.get('repeat')[0] ?? 1); left > 0 && !call.cancelled; left--) {
        if (!call.write(call.request)) await once(call, 'drain', { signal: gone.signal }).catch(() => {});
      }
      if (isToEnd && !call.cancelled) end(call);
    },
    async chat(call: ServerDuplexStream<Buffer, Buffer>) {
      const isToEnd = begin(call);
      if (failureOf(call) !== undefined) return end(call);
      call.on('data', (message: Buffer) => call.write(message));
      call.on('end', () => isToEnd && !call.cancelled && end(call));
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  return {
    port,
    get cancelled() {
      return state.cancelled;
    },
    get open() {
      return underWay.size;
    },
    get metadata() {
      return state.metadata;
    },
    get deadline() {
      return state.deadline;
    },
    [Symbol.asyncDispose]: async () => server.forceShutdown(),
  };
}

function echoed({ metadata }: Call, prefix: string): Metadata {
  const copy = new Metadata();
  for (const name of Object.keys(metadata.getMap()).filter((name) => name.startsWith('x-'))) {
    for (const value of metadata.get(name)) copy.add(prefix + name, value);
  }
  return copy;
}
