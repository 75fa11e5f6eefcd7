import type { DetailedPeerCertificate } from 'node:tls';
import {
  create,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { Client, type ClientReadableStream, credentials, Metadata } from '@grpc/grpc-js';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { chainCertificatesMax, verifySvid } from '#certs/verify-svid.ts';
import { type AnonymousIdentity, clientContext } from '#net/tls-context.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Secret } from '#runtime/secret.ts';
import type { Watch } from '#runtime/watch.ts';
import { explainUnreachable } from './explain-unreachable.ts';
import { grpcMethod } from './grpc-bridge.ts';
import { type GrpcStream, type MessageStream, messageStream } from './message-stream.ts';
import { setBearerToken } from './operator-token.ts';
import { fromServiceError } from './rpc-error.ts';

export interface ApiClientOptions {
  readonly host: string;
  readonly port: number;
  /** Who must answer, to the letter. */
  readonly expect: SpiffeId;
  /** Without an SVID for the join. */
  readonly identity: Watch<TlsIdentity | AnonymousIdentity>;
  /** Of an operator, in place of an SVID. */
  readonly token?: Secret<string>;
  readonly clock: Clock;
}

/** A single call that takes longer is a failed one. */
const callTimeoutMs = 10_000;
const messageBytesMax = 16 * 1024 * 1024;
const keepaliveMs = 20_000;

interface Channel {
  readonly identity: TlsIdentity | AnonymousIdentity;
  readonly client: Client;
  openStreams: number;
}

/**
 * Calls one authority over mutual TLS. A channel presents one SVID; when the identity changes, later calls take a new channel and
 * streams that are open keep the old one until they end.
 */
export class ApiClient implements Disposable {
  readonly #options: ApiClientOptions;
  readonly #abort = new AbortController();
  readonly #channels = new Set<Channel>();
  #current: Channel | undefined;

  constructor(options: ApiClientOptions) {
    this.#options = options;
  }

  /** @throws CellmeshError: the server's typed error, `peer_refused` with the rule that the server breaks, `rpc_unavailable`, `rpc_internal` */
  call<M extends DescMethodUnary>(
    method: M,
    request: MessageInitShape<M['input']>,
    signal?: AbortSignal,
  ): Promise<MessageShape<M['output']>> {
    return new Promise((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
      const deadline = new Date(this.#options.clock.now() + callTimeoutMs);
      const call = this.#channel().client.makeUnaryRequest<Message, Message>(
        path,
        requestSerialize,
        responseDeserialize,
        create(method.input, request),
        this.#metadata(),
        { deadline },
        (error, response) => {
          signal?.removeEventListener('abort', onAbort);
          if (error !== null) void this.#explained(fromServiceError(error)).then(reject);
          else resolve(response as MessageShape<M['output']>);
        },
      );
      const onAbort = () => call.cancel();
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** A stream both ways, open until either side ends it. */
  open<M extends DescMethodBiDiStreaming>(
    method: M,
  ): MessageStream<MessageShape<M['output']>, MessageInitShape<M['input']>> {
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    const channel = this.#channel();
    const call = channel.client.makeBidiStreamRequest<Message, Message>(path, requestSerialize, responseDeserialize);
    this.#holdOpen(channel, call);
    const stream = messageStream(call as unknown as GrpcStream<MessageShape<M['output']>, Message>, {
      fail: () => call.cancel(),
      translate: fromServiceError,
    });
    return {
      ...stream,
      send: (message) => stream.send(create(method.input, message)),
      onEnd: (handler) => this.#onEnd(stream, handler),
    };
  }

  /** A stream of answers to one request. */
  follow<M extends DescMethodServerStreaming>(
    method: M,
    request: MessageInitShape<M['input']>,
  ): MessageStream<MessageShape<M['output']>, never> {
    const call = this.#ask(method, request);
    const readable = Object.assign(call, { write: () => false, end: () => call.cancel() });
    return messageStream(readable as unknown as GrpcStream<MessageShape<M['output']>, never>, {
      fail: () => call.cancel(),
      translate: fromServiceError,
    });
  }

  /**
   * All answers to one request, at the reader's pace: whoever answers waits. Leaving the loop ends the call.
   * @throws CellmeshError as `call`
   */
  async *read<M extends DescMethodServerStreaming>(
    method: M,
    request: MessageInitShape<M['input']>,
  ): AsyncGenerator<MessageShape<M['output']>, void, undefined> {
    const call = this.#ask(method, request);
    // After the loop was left nobody else listens, and a cancelled call is an error.
    call.on('error', () => {});
    try {
      for await (const message of call) yield message as MessageShape<M['output']>;
    } catch (error) {
      throw await this.#explained(fromServiceError(error));
    } finally {
      call.cancel();
    }
  }

  [Symbol.dispose](): void {
    this.#abort.abort(new Error('the client is closed'));
    for (const { client } of this.#channels) client.close();
    this.#channels.clear();
    this.#current = undefined;
  }

  #ask(method: DescMethodServerStreaming, request: unknown): ClientReadableStream<Message> {
    const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
    const channel = this.#channel();
    const message = create(method.input, request as MessageInitShape<typeof method.input>);
    const call = channel.client.makeServerStreamRequest<Message, Message>(
      path,
      requestSerialize,
      responseDeserialize,
      message,
      this.#metadata(),
    );
    this.#holdOpen(channel, call);
    return call;
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    if (this.#options.token !== undefined) setBearerToken(metadata, this.#options.token);
    return metadata;
  }

  #channel(): Channel {
    const identity = this.#options.identity.current;
    if (this.#current?.identity === identity) return this.#current;
    const former = this.#current;
    this.#current = { identity, client: this.#connect(identity), openStreams: 0 };
    this.#channels.add(this.#current);
    if (former !== undefined) this.#closeIfDone(former);
    return this.#current;
  }

  /** A channel that is closed lets its streams go on and answers no more keep-alive pings: it would lose them. */
  #holdOpen(channel: Channel, call: { once(event: 'status', listener: () => void): unknown }): void {
    channel.openStreams++;
    call.once('status', () => {
      channel.openStreams--;
      this.#closeIfDone(channel);
    });
  }

  #closeIfDone(channel: Channel): void {
    if (channel === this.#current || channel.openStreams > 0) return;
    channel.client.close();
    this.#channels.delete(channel);
  }

  #onEnd(stream: Pick<MessageStream<never, never>, 'onEnd'>, handler: (error: Error | undefined) => void): void {
    stream.onEnd((error) => {
      if (!(error instanceof CellmeshError)) handler(error);
      else void this.#explained(error).then(handler);
    });
  }

  #explained(error: CellmeshError): Promise<CellmeshError> {
    return explainUnreachable(error, this.#options, this.#abort.signal);
  }

  #connect(identity: TlsIdentity | AnonymousIdentity): Client {
    const { host, port, expect, clock } = this.#options;
    const checkServerIdentity = (_: string, certificate: DetailedPeerCertificate) => {
      try {
        const { id } = verifySvid(chainOf(certificate), this.#options.identity.current.bundles, clock.now());
        if (id === expect) return undefined;
        return new CellmeshError('peer_refused', `${host}:${port} is ${id}, expected is ${expect}`);
      } catch (error) {
        return error as Error;
      }
    };
    const channelCredentials = credentials.createFromSecureContext(clientContext(identity), {
      checkServerIdentity,
    } as never);
    return new Client(host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`, channelCredentials, {
      // A name must be there for the handshake and is looked at by nobody: who answers is told by its SPIFFE ID.
      'grpc.ssl_target_name_override': 'cellmesh',
      'grpc.default_authority': 'cellmesh',
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': messageBytesMax,
      'grpc.keepalive_time_ms': keepaliveMs,
      'grpc.keepalive_timeout_ms': keepaliveMs,
      'grpc.enable_retries': 0,
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 5_000,
    });
  }
}

/** Leaf first. The list that Node builds ends in a root that names itself. */
function chainOf(certificate: DetailedPeerCertificate): readonly Buffer[] {
  const chain: Buffer[] = [];
  let next: DetailedPeerCertificate | undefined = certificate;
  while (
    next?.raw !== undefined &&
    chain.length < chainCertificatesMax &&
    !chain.some((der) => der.equals(next!.raw))
  ) {
    chain.push(next.raw);
    next = next.issuerCertificate;
  }
  return chain;
}
