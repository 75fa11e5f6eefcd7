import assert from 'node:assert/strict';
import { test } from 'node:test';
import { smugglingCases } from '../support/smuggling-cases.ts';
import { everyByte, splitAt, throughProxy, whole } from './support/memory-proxy.ts';

for (const { name, bytes, statuses } of smugglingCases) {
  test(`${statuses[0] === 200 ? 'passes' : `${statuses[0]}:`} ${name}`, async () => {
    const expected = await run(whole(bytes), statuses);
    assert.deepEqual(await run(everyByte(bytes), statuses), expected);
    for (let at = 1; at < bytes.length; at++)
      assert.deepEqual(await run(splitAt(bytes, at), statuses), expected, `split at ${at}`);
  });
}

/** Runs one feeding and returns what must not depend on how the bytes were cut. */
async function run(pieces: readonly Buffer[], statuses: readonly number[]) {
  const { decided, received, sent, answered, statuses: answeredStatuses } = await throughProxy(pieces);
  assert.deepEqual(answeredStatuses, statuses, answered);
  const passedCount = statuses.filter((status) => status === 200).length;
  assert.equal(received.length, passedCount, sent);
  received.forEach((request, index) => {
    const head = decided[index]!;
    assert.equal(request.method, head.method);
    assert.equal(request.target, head.path);
    assert.equal(request.host.toLowerCase(), head.authority);
    if (head.framing === 'length') assert.equal(request.body.length, head.contentLength);
  });
  assert.doesNotMatch(sent, /cellmesh-|x-hop/i);
  return { received, answered: answered.replaceAll(/date: [^\r]*/gi, 'date') };
}
