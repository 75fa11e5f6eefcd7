import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Refusal } from '#net/accept.ts';
import { listenMtls, type MtlsListener } from '#net/accept.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import type { Clock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import type { Watch } from '#runtime/watch.ts';
import { type AdmissionOptions, admit, holdOpen } from './admission.ts';
import { type Caller, type CallerDomains, callerKind } from './caller.ts';
import { grpcService, rpcName } from './grpc-bridge.ts';
import { type GrpcStream, type MessageStream, messageStream } from './message-stream.ts';
import { toServiceError } from './rpc-error.ts';
import { rpcTable } from './rpc-table.ts';

type MethodOf<S extends DescService> = S['method'];

/** What a server does for one method: a function for single answers, a function over a stream for the rest. */
type MethodHandler<M extends DescMethod> = M['methodKind'] extends 'unary'
  ? (request: MessageShape<M['input']>, caller: Caller) => Promise<MessageInitShape<M['output']>>
  : M['methodKind'] extends 'server_streaming'
    ? (
        request: MessageShape<M['input']>,
        stream: MessageStream<never, MessageInitShape<M['output']>>,
        caller: Caller,
      ) => void
    : (stream: MessageStream<MessageShape<M['input']>, MessageInitShape<M['output']>>, caller: Caller) => void;

type ServiceHandlers<S extends DescService> = {
  readonly [K in keyof MethodOf<S>]: MethodHandler<MethodOf<S>[K]>;
};

export interface ServedService {
  readonly service: DescService;
  readonly handlers: Readonly<Record<string, unknown>>;
}

/** Ties handlers to their service, with the types of its methods. */
export function served<S extends DescService>(service: S, handlers: ServiceHandlers<S>): ServedService {
  return { service, handlers: handlers as Readonly<Record<string, unknown>> };
}

interface ApiServerOptions extends AdmissionOptions {
  readonly host: string;
  readonly port: number;
  readonly identity: Watch<TlsIdentity>;
  readonly domains: CallerDomains;
  readonly services: readonly ServedService[];
  readonly clock: Clock;
  readonly onRefused: (refusal: Refusal) => void;
}

export interface ApiServer extends AsyncDisposable {
  readonly address: { readonly host: string; readonly port: number };
  /** Takes no new calls, lets running single calls finish, ends streams. */
  close(graceMs?: number): Promise<void>;
}

/** A snapshot of a large cell has a few megabytes. */
const messageBytesMax = 16 * 1024 * 1024;
const keepaliveMs = 20_000;
const closeGraceMs = 2_000;

/**
 * Serves gRPC on connections that net/ accepted: one way to shake hands in the whole product, and every call knows its verified peer.
 * @throws TypeError for an RPC that is not in the table; CellmeshError `port_taken`, `listen_failed`
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const callers = new Map<string, Caller>();
  const server = new Server({
    'grpc.max_receive_message_length': messageBytesMax,
    'grpc.max_send_message_length': messageBytesMax,
    'grpc.keepalive_time_ms': keepaliveMs,
    'grpc.keepalive_timeout_ms': keepaliveMs,
    'grpc.max_concurrent_streams': 100,
  });
  for (const { service, handlers } of options.services) {
    server.addService(grpcService(service), implementation(service, handlers, callers, options));
  }
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener: MtlsListener<'allow'> = await listenMtls({
    ...options,
    alpn: ['h2'],
    anonymous: 'allow',
    onConnection({ socket, peer }) {
      const key = `${socket.remoteAddress}:${socket.remotePort}`;
      callers.set(key, { kind: callerKind(peer, options.domains), peer, address: socket.remoteAddress ?? '' });
      socket.once('close', () => callers.delete(key));
      injector.injectConnection(socket);
    },
    // A stream ends with its connection; its client comes back with the certificate it has by then.
    onDrain: ({ socket }) => void socket.end(),
  });
  const close = async (graceMs = closeGraceMs) => {
    injector.drain(graceMs);
    await listener.close(graceMs);
    server.forceShutdown();
  };
  return { address: listener.address, close, [Symbol.asyncDispose]: () => close(0) };
}

type AnyCall = { getPeer(): string; readonly metadata: Metadata };
type Admit = (call: AnyCall) => ReturnType<typeof admit>;

function implementation(
  service: DescService,
  handlers: Readonly<Record<string, unknown>>,
  callers: ReadonlyMap<string, Caller>,
  options: ApiServerOptions,
): UntypedServiceImplementation {
  const methods = service.methods.map((method) => {
    const rule = rpcTable[rpcName(method)];
    if (rule === undefined) throw new TypeError(`${rpcName(method)} is not in the table of RPCs`);
    const handler = handlers[method.localName];
    if (typeof handler !== 'function') throw new TypeError(`${rpcName(method)} has no handler`);
    const admitted: Admit = (call) =>
      admit(method, rule, { caller: callers.get(call.getPeer()), metadata: call.metadata }, options);
    return [method.localName, adapter(method, handler as never, admitted, options)] as const;
  });
  return Object.fromEntries(methods);
}

function adapter(
  method: DescMethod,
  handler: (...values: unknown[]) => unknown,
  admitted: Admit,
  { logger, clock }: ApiServerOptions,
): UntypedServiceImplementation[string] {
  const failure = (error: unknown) => {
    if (!isCellmeshError(error)) logger.error('a call failed', { rpc: rpcName(method), error });
    return toServiceError(error);
  };
  const output = (message: unknown) => create(method.output, message as never);
  if (method.methodKind === 'unary') {
    const unary: handleUnaryCall<unknown, unknown> = async (call, answer) => {
      try {
        answer(null, output(await handler(call.request, (await admitted(call)).caller)));
      } catch (error) {
        answer(failure(error));
      }
    };
    return unary;
  }
  const streaming = (
    call: AnyCall & GrpcStream<unknown, unknown> & { emit(event: 'error', error: unknown): boolean; request?: unknown },
  ) => {
    const inner = messageStream<unknown, unknown>(call, {
      fail: (error) => call.emit('error', failure(error)),
      translate: (error) => error,
    });
    const stream = { ...inner, send: (message: unknown) => inner.send(output(message)) };
    const end = (error: unknown) => inner.end(error as Error);
    const begin = (caller: Caller) => {
      if (method.methodKind === 'server_streaming') handler(call.request, stream, caller);
      else handler(stream, caller);
    };
    try {
      const answer = admitted(call);
      if (!(answer instanceof Promise)) return begin(answer.caller);
      answer
        .then(({ caller, askAgain }) => {
          begin(caller);
          if (askAgain !== undefined) holdOpen(call, askAgain, end, clock);
        })
        .catch(end);
    } catch (error) {
      end(error);
    }
  };
  return streaming as unknown as handleBidiStreamingCall<unknown, unknown> &
    handleServerStreamingCall<unknown, unknown>;
}
