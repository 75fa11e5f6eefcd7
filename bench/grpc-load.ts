import { connect, type Socket } from 'node:net';
import type { LoadOrder } from './load.ts';
import {
  flags,
  frame,
  frameHeadBytes,
  frameTypes,
  grpcMessage,
  headBlocks,
  messageBytes,
  RawConnection,
} from './raw-http2.ts';

/** The last part of a call that has one: the frame's head, the message's head, the message. */
const dataFrameBytes = frameHeadBytes + 5 + messageBytes;

interface Call {
  startedAt: number;
  bytesLeft: number;
}

/** One connection of HTTP/2 with prior knowledge and `streams` calls of gRPC in flight on it. */
export class GrpcConnection {
  readonly #order: LoadOrder;
  readonly #messages: number;
  readonly #socket: Socket;
  readonly #connection: RawConnection;
  readonly #request: Buffer;
  readonly #open = new Map<number, Call>();
  #firstRequest: Buffer | undefined;
  #nextStream = 1;
  #onDone: (latencyMs: number, failure: string | undefined) => void = () => {};
  isBroken = false;

  constructor(order: LoadOrder) {
    this.#order = order;
    this.#messages = order.grpc!.messages;
    this.#socket = connect({ port: order.port, host: '127.0.0.1', noDelay: true });
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => this.#broken());
    const { plain, first, again } = headBlocks(fieldsOf(order));
    const { isLiteral = false } = order.grpc!;
    this.#firstRequest = this.#callOf(isLiteral ? plain : first);
    this.#request = this.#callOf(isLiteral ? plain : again);
    this.#connection = new RawConnection(this.#socket, 'client', this);
  }

  /** Keeps all streams busy until `isOver` says so; resolves after the last answer. */
  run(isOver: () => boolean, record: (latencyMs: number, failure: string | undefined) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#onDone = (latencyMs, failure) => {
        record(latencyMs, failure);
        if (!this.isBroken && !isOver()) this.#call();
        else if (this.#open.size === 0) resolve();
      };
      for (let stream = 0; stream < this.#order.grpc!.streams; stream++) this.#call();
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  onFrame(type: number, flag: number, stream: number, payload: Buffer): void {
    const call = this.#open.get(stream);
    if (call === undefined) return;
    if (type === frameTypes.data) call.bytesLeft -= payload.length;
    if (type !== frameTypes.resetStream && (flag & flags.endStream) === 0) return;
    this.#open.delete(stream);
    // A refusal has no message; its head can be read where it is not compressed.
    const failure =
      call.bytesLeft === 0 && type !== frameTypes.resetStream
        ? undefined
        : `a call without its answer: frame of type ${type}, ${JSON.stringify(payload.toString('latin1'))}`;
    this.#onDone(performance.now() - call.startedAt, failure);
  }

  #callOf(head: Buffer): Buffer {
    if (this.#messages === 0) return frame(frameTypes.headers, flags.endHeaders | flags.endStream, 0, head);
    const asked = Buffer.alloc(messageBytes, 'y');
    asked[0] = this.#messages;
    const data = frame(frameTypes.data, flags.endStream, 0, grpcMessage(asked));
    return Buffer.concat([frame(frameTypes.headers, flags.endHeaders, 0, head), data]);
  }

  #call(): void {
    const request = this.#firstRequest ?? this.#request;
    this.#firstRequest = undefined;
    const stream = this.#nextStream;
    this.#nextStream += 2;
    request.writeUInt32BE(stream, 5);
    if (this.#messages > 0) request.writeUInt32BE(stream, request.length - dataFrameBytes + 5);
    const bytesLeft = this.#messages * (5 + messageBytes);
    this.#open.set(stream, { startedAt: performance.now(), bytesLeft });
    this.#connection.send(request, this.#messages > 0 ? 5 + messageBytes : 0);
  }

  #broken(): void {
    this.isBroken = true;
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const { startedAt } of open) this.#onDone(performance.now() - startedAt, 'connection closed');
  }
}

function fieldsOf({ host, path, fields }: LoadOrder): [string, string][] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', host],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...Object.entries(fields),
  ];
}
