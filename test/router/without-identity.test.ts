import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Cell, startCell } from '../support/start-cell.ts';
import { type Customer, type Edge, startEdge } from '../support/start-edge.ts';

let cell: Cell;
let edge: Edge;
let warm: Customer;
let cold: Customer;

before(async () => {
  cell = await startCell();
  edge = await startEdge(cell);
  warm = await edge.customer(['messages:read']);
  cold = await edge.unusedKey(['messages:read']);
  assert.equal((await edge.call({ user: warm.accountId, secret: warm.secret })).status, 200);
  await cell.identity.identity[Symbol.asyncDispose]();
});
after(async () => {
  await edge?.[Symbol.asyncDispose]();
  await cell?.[Symbol.asyncDispose]();
});

describe('while identity is away', () => {
  const call = ({ accountId: user, secret }: Customer) => edge.call({ user, secret });

  test('a key that the router has seen goes on working', async () => {
    for (let i = 0; i < 20; i++) assert.equal((await call(warm)).status, 200);
  });

  test('a key that it has not seen gets 503 and when to come back: never a pass, and never a no', async () => {
    const answer = await call(cold);
    assert.equal(answer.status, 503, answer.body);
    assert.ok(Number(answer.headers['retry-after']) > 0);
    assert.match(answer.body, /"identity_unavailable"/);
  });

  test('a forgery is told apart without asking anybody', async () => {
    const forged = `cmk1_${'A'.repeat(12)}_${'B'.repeat(49)}`;
    assert.equal((await edge.call({ user: warm.accountId, secret: forged })).status, 401);
  });

  test('a router that starts again knows what it knew', async () => {
    await edge.stop();
    await edge.start();
    const answer = await call(warm);
    assert.equal(answer.status, 200, answer.body);
    assert.equal((await call(cold)).status, 503);
  });
});
