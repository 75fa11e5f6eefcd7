// A carrier of text messages, over gRPC. It takes all of them, and each arrives within a second.
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { Carrier, SendResponseSchema, TrackResponseSchema } from './generated/messaging/carrier/v1/carrier_pb.js';
import { serveGrpc } from './grpc.js';

/** When each of the newest thousand was taken over, by reference. */
const takenAt = new Map();
const messagesMax = 1000;
/** What becomes of a message, and after how long. */
const states = [
  ['accepted', 0],
  ['sent', 400],
  ['delivered', 800],
];

serveGrpc('carrier', Carrier, {
  send(_, answer) {
    const reference = randomBytes(6).toString('hex');
    takenAt.set(reference, Date.now());
    if (takenAt.size > messagesMax) takenAt.delete(takenAt.keys().next().value);
    answer(null, create(SendResponseSchema, { reference }));
  },

  async track(call) {
    const begun = takenAt.get(call.request.reference);
    if (begun === undefined) return call.emit('error', { code: status.NOT_FOUND, details: 'no such message' });
    for (const [state, afterMs] of states) {
      await delay(Math.max(0, begun + afterMs - Date.now()));
      if (call.cancelled) return;
      call.write(create(TrackResponseSchema, { state }));
    }
    call.end();
  },
});
