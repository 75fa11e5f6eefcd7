import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ChainAnswer } from '../support/messaging-application.ts';
import { startCell } from '../support/start-cell.ts';

describe('a cell in one process', () => {
  test("a customer's call goes through three services, and each decision is found by its id", async () => {
    await using cell = await startCell();
    const response = await cell.callAsRouter({ token: await cell.mint(), method: 'POST', body: 'hello' });
    assert.equal(response.status, 200, response.body);
    const answer = JSON.parse(response.body) as ChainAnswer;
    assert.equal((answer.next as ChainAnswer).service, 'messaging');
    const record = await cell.findDecision(String(response.headers['cellmesh-decision']));
    assert.equal(record.service, 'messaging/api');
    assert.equal(record.rule, 'write');
    assert.equal(record.outcome, 'permit');
  });
});
