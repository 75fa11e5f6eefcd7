// Keeps messages, in `store`, and has `delivery` send them. Whose they are is told by the one header of the mesh that it reads, which is
// verified before it comes here.
import { randomBytes } from 'node:crypto';
import { call, serve } from './http.js';
import { get, put } from './store-client.js';

serve('messaging', [
  [
    'POST',
    /^\/messages$/,
    async (_, { to, text } = {}, received) => {
      const id = randomBytes(6).toString('hex');
      const [status, delivery] = await call(received, 'POST', 'http://delivery/deliveries', { message: id, to });
      if (status !== 201) return [status, delivery];
      const message = { id, account: received.headers['cellmesh-account'], to, text, delivery: delivery.id };
      await put(keyOf(id, received), message);
      return [201, message];
    },
  ],
  ['GET', /^\/messages\/(\w+)$/, ([, id], _, received) => found(id, received, (message) => [200, message])],
  [
    'GET',
    /^\/messages\/(\w+)\/events$/,
    ([, id], _, received) =>
      found(id, received, ({ delivery }) => call(received, 'GET', `http://delivery/deliveries/${delivery}/events`)),
  ],
  [
    'DELETE',
    /^\/messages\/(\w+)$/,
    ([, id], _, received) =>
      found(id, received, ({ delivery }) => call(received, 'DELETE', `http://delivery/deliveries/${delivery}`)),
  ],
]);

async function found(id, received, answer) {
  const message = await get(keyOf(id, received));
  return message === undefined ? [404, { error: 'no such message' }] : answer(message);
}

/** Another account's message is none. */
function keyOf(id, { headers }) {
  return `${headers['cellmesh-account']}/${id}`;
}
