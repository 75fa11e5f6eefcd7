// Hands messages over to a carrier, who here takes all of them.
import { randomBytes } from 'node:crypto';
import { serve } from './http.js';

serve('delivery', [
  ['POST', /^\/deliveries$/, (_, { message }) => [201, { id: randomBytes(6).toString('hex'), message, state: 'sent' }]],
  ['GET', /^\/deliveries\/(\w+)$/, ([, id]) => [200, { id, state: 'sent' }]],
  ['DELETE', /^\/deliveries\/(\w+)$/, ([, id]) => [200, { id, state: 'called back' }]],
]);
