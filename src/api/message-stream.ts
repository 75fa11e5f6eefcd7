/** One end of a stream of messages, whatever carries it. Handlers are set once, before the first turn ends. */
export interface MessageStream<In, Out> {
  /** False when the other end is slow: wait for `onDrain` before sending what can wait. */
  send(message: Out): boolean;
  /** Ends this side; with an error the other end is told its code. */
  end(error?: Error): void;
  onMessage(handler: (message: In) => void): void;
  onDrain(handler: () => void): void;
  /** Called once when the stream is over, whoever ended it; with the error, if that is why. */
  onEnd(handler: (error: Error | undefined) => void): void;
}

/** What grpc-js's client and server streams have in common. */
export interface GrpcStream<In, Out> {
  write(message: Out): boolean;
  end(): void;
  on(event: 'data', handler: (message: In) => void): unknown;
  on(event: 'error', handler: (error: Error) => void): unknown;
  on(event: 'end' | 'close' | 'drain' | 'cancelled', handler: () => void): unknown;
}

interface StreamEnds {
  /** Ends the stream with an error. */
  readonly fail: (error: Error) => void;
  /** What an error of the other end means here. */
  readonly translate: (error: Error) => Error;
}

export function messageStream<In, Out>(
  stream: GrpcStream<In, Out>,
  { fail, translate }: StreamEnds,
): MessageStream<In, Out> {
  let isOver = false;
  let finish: (error: Error | undefined) => void = () => {};
  let endedWith: { readonly error: Error | undefined } | undefined;
  const over = (error?: Error) => {
    if (isOver) return;
    isOver = true;
    endedWith = { error };
    finish(error);
  };
  stream.on('error', (error) => over(translate(error)));
  stream.on('cancelled', () => over());
  stream.on('end', () => over());
  stream.on('close', () => over());
  return {
    send: (message) => !isOver && stream.write(message),
    end(error) {
      if (isOver) return;
      if (error === undefined) stream.end();
      else fail(error);
      over(error);
    },
    onMessage: (handler) => void stream.on('data', (message) => void (isOver || handler(message))),
    onDrain: (handler) => void stream.on('drain', handler),
    onEnd(handler) {
      finish = handler;
      if (endedWith !== undefined) handler(endedWith.error);
    },
  };
}
