// Hands messages over to a carrier, who speaks gRPC.
import { create } from '@bufbuild/protobuf';
import { Carrier, SendRequestSchema, TrackRequestSchema } from './generated/messaging/carrier/v1/carrier_pb.js';
import { grpcClient, httpAnswerTo } from './grpc.js';
import { serve } from './http.js';

const carrier = grpcClient(process.env.CARRIER);

serve('delivery', [
  [
    'POST',
    /^\/deliveries$/,
    async (_, { message, to }, received) => {
      const request = create(SendRequestSchema, { message, to });
      try {
        const { reference } = await carrier.unary(Carrier.method.send, received, request);
        return [201, { id: reference, message, state: 'accepted' }];
      } catch (error) {
        return httpAnswerTo(error);
      }
    },
  ],
  [
    'GET',
    /^\/deliveries\/(\w+)\/events$/,
    async ([, reference], _, received) => {
      const request = create(TrackRequestSchema, { reference });
      const events = carrier.stream(Carrier.method.track, received, request)[Symbol.asyncIterator]();
      try {
        // A refusal comes in place of the first one.
        return [200, linesOf(await events.next(), events)];
      } catch (error) {
        return httpAnswerTo(error);
      }
    },
  ],
  ['GET', /^\/deliveries\/(\w+)$/, ([, id]) => [200, { id, state: 'sent' }]],
  ['DELETE', /^\/deliveries\/(\w+)$/, ([, id]) => [200, { id, state: 'called back' }]],
]);

async function* linesOf(first, events) {
  for (let next = first; !next.done; next = await events.next())
    yield `${JSON.stringify({ state: next.value.state })}\n`;
}
