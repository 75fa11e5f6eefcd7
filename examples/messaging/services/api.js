// The public API: takes customers' requests and hands them to `messaging`.
import { call, serve } from './http.js';

serve('api', [
  ['POST', /^\/v1\/messages$/, (_, body, received) => call(received, 'POST', 'http://messaging/messages', body)],
  ['GET', /^\/v1\/messages\/(\w+)$/, ([, id], _, received) => call(received, 'GET', `http://messaging/messages/${id}`)],
  [
    'DELETE',
    /^\/v1\/messages\/(\w+)$/,
    ([, id], _, received) => call(received, 'DELETE', `http://messaging/messages/${id}`),
  ],
]);
