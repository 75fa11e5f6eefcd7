import { createServer, type Server } from 'node:net';
import { flags, frame, frameTypes, grpcMessage, headBlocks, messageBytes, RawConnection } from './raw-http2.ts';

const head = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
] as const;
const trailers = [['grpc-status', '0']] as const;
const total = head.length + trailers.length;
const heads = headBlocks(head, { total });
const ends = headBlocks(trailers, { before: head.length, total });
const message = grpcMessage(Buffer.alloc(messageBytes, 'x'));
const { endHeaders, endStream } = flags;

/** A whole response: head, `count` messages in as many frames, trailers; and where its stream's number belongs. */
function template(form: keyof typeof heads, count: number): { frames: Buffer; streamAt: number[]; dataBytes: number } {
  const parts = [
    frame(frameTypes.headers, endHeaders, 0, heads[form]),
    ...Array.from({ length: count }, () => frame(frameTypes.data, 0, 0, message)),
    frame(frameTypes.headers, endHeaders | endStream, 0, ends[form]),
  ];
  let at = 0;
  const streamAt = parts.map((part) => {
    at += part.length;
    return at - part.length + 5;
  });
  return { frames: Buffer.concat(parts), streamAt, dataBytes: count * message.length };
}

/** Answers every call on HTTP/2 with as many messages as the first byte of its own says. */
export function grpcBackend(): Server {
  return createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    const responses = new Map<number, ReturnType<typeof template>>();
    /** Calls of which not all has come. */
    const asked = new Map<number, number>();
    let isFirst = true;
    const connection = new RawConnection(socket, 'server', {
      onFrame(type, flag, stream, payload) {
        let count = asked.get(stream) ?? 1;
        if (type === frameTypes.data && payload.length > 5) {
          count = payload[5]!;
          asked.set(stream, count);
        }
        if ((flag & endStream) === 0 || type === frameTypes.resetStream) return;
        asked.delete(stream);
        const form = connection.hasTable ? 'again' : 'plain';
        const response =
          isFirst && connection.hasTable ? template('first', count) : (responses.get(count) ?? template(form, count));
        if (!isFirst) responses.set(count, response);
        isFirst = false;
        for (const at of response.streamAt) response.frames.writeUInt32BE(stream, at);
        connection.send(response.frames, response.dataBytes);
      },
    });
  });
}
