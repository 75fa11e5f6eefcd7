// Keeps messages, in memory, and has `delivery` send them. Whose they are is told by the one header of the mesh that it reads, which is
// verified before it comes here.
import { randomBytes } from 'node:crypto';
import { call, serve } from './http.js';

/** The newest thousand, by id. */
const messages = new Map();
const messagesMax = 1000;

serve('messaging', [
  [
    'POST',
    /^\/messages$/,
    async (_, { to, text } = {}, received) => {
      const id = randomBytes(6).toString('hex');
      const [status, delivery] = await call(received, 'POST', 'http://delivery/deliveries', { message: id, to });
      if (status !== 201) return [status, delivery];
      const message = { id, account: received.headers['cellmesh-account'], to, text, delivery: delivery.id };
      messages.set(id, message);
      if (messages.size > messagesMax) messages.delete(messages.keys().next().value);
      return [201, message];
    },
  ],
  [
    'GET',
    /^\/messages\/(\w+)$/,
    ([, id], _, received) => {
      const message = find(id, received);
      return message === undefined ? [404, { error: 'no such message' }] : [200, message];
    },
  ],
  [
    'DELETE',
    /^\/messages\/(\w+)$/,
    ([, id], _, received) => {
      const message = find(id, received);
      if (message === undefined) return [404, { error: 'no such message' }];
      return call(received, 'DELETE', `http://delivery/deliveries/${message.delivery}`);
    },
  ],
]);

/** Another account's message is none. */
function find(id, received) {
  const message = messages.get(id);
  return message?.account === received.headers['cellmesh-account'] ? message : undefined;
}
