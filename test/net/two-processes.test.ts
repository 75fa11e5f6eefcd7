import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import test from 'node:test';
import { verifyCsr } from '#certs/csr.ts';
import { JoinTokenRejected, JoinTokens } from '#certs/join-token.ts';
import { type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { serializeTrustBundle } from '#certs/trust-bundle.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from '../support/eventually.ts';
import { memoryJoinTokenStore } from '../support/join-token-store-memory.ts';
import type { ChainMessage, PeerMessage, StartMessage } from '../support/peer-process.ts';
import { testAuthority } from '../support/test-authority.ts';

const cell = await testAuthority(systemClock);
const tokens = new JoinTokens({ store: memoryJoinTokenStore(), clock: systemClock, random: systemRandom });
const apiId = workloadId(cell.trustDomain, 'messaging', 'api');
const deliveryId = workloadId(cell.trustDomain, 'messaging', 'delivery');

/** A workload's process, joined through this one. */
async function start(id: SpiffeId, dial?: StartMessage['dial']) {
  const token = (await tokens.create({ id })).token.reveal();
  const child: ChildProcess = fork(join(import.meta.dirname, '../support/peer-process.ts'));
  const messages: PeerMessage[] = [];
  child.on('message', async (message: PeerMessage) => {
    messages.push(message);
    if (message.kind !== 'join') return;
    const redeemed = await tokens.redeem(message.token);
    const { publicKey } = verifyCsr(Buffer.from(message.csr, 'base64'));
    const { chainDer } = await cell.authority.issue({ id: redeemed, publicKey });
    child.send({ chain: chainDer.map((der) => der.toString('base64')) } satisfies ChainMessage);
  });
  const bundle = serializeTrustBundle(cell.authority.bundle.current);
  child.send({
    trustDomain: cell.trustDomain,
    bundle,
    token,
    ...(dial === undefined ? {} : { dial }),
  } satisfies StartMessage);
  const stop = async () => {
    child.kill();
    await once(child, 'exit');
  };
  return { messages, token, [Symbol.asyncDispose]: stop };
}

test('two processes obtain SVIDs by join tokens, shake hands, and each hears from whom it must', async () => {
  await using delivery = await start(deliveryId);
  const port = await eventually(() => {
    const listening = delivery.messages.find((message) => message.kind === 'listening');
    assert.ok(listening !== undefined);
    return listening.port;
  });
  await using api = await start(apiId, { port, expect: deliveryId });
  await eventually(() => {
    assert.deepEqual(api.messages.at(-1), { kind: 'heard', id: deliveryId, text: `this is ${deliveryId}` });
    assert.deepEqual(delivery.messages.at(-1), { kind: 'heard', id: apiId, text: `this is ${apiId}` });
  });
  await assert.rejects(
    tokens.redeem(api.token),
    (error) => error instanceof JoinTokenRejected && error.reason === 'used',
  );
});
