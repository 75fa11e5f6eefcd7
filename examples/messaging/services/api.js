// The public API: takes customers' requests and hands them to `messaging`.
import { call, serve } from './http.js';

const hand =
  (method) =>
  ([, rest], body, received) =>
    call(received, method, `http://messaging/messages${rest}`, body);

serve('api', [
  ['POST', /^\/v1\/messages()$/, hand('POST')],
  ['GET', /^\/v1\/messages(\/\w+(?:\/events)?)$/, hand('GET')],
  ['DELETE', /^\/v1\/messages(\/\w+)$/, hand('DELETE')],
]);
