import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { after, before, test } from 'node:test';
import { type Application, startApplication } from '../support/application.ts';
import { oldGenerationBytes } from '../support/inspected-process.ts';
import { type SidecarPair, startSidecarPair } from '../support/sidecar-pair.ts';

/** Code that V8 has not optimised yet, as in a service with few requests: what it allocates is not optimised away either. */
const nodeFlags = '--no-opt --no-maglev --inspect=127.0.0.1:0';
const requests = 6_000;
const batch = 500;
/** What of a request may outlive two collections of the young generation, and is garbage in the old one then. */
const bytesMax = 20;

let application: Application;
let pair: SidecarPair;

before(async () => {
  application = await startApplication(() => ({ status: 200, body: 'ok' }));
  pair = await startSidecarPair({
    applicationPort: application.port,
    protocol: 'http',
    nodeFlags,
  });
});

after(async () => {
  await application?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

async function statusOf(agent: Agent): Promise<number> {
  const [response] = (await once(get({ host: '127.0.0.1', port: pair.port, agent }), 'response')) as [IncomingMessage];
  await response.toArray();
  return response.statusCode ?? 0;
}

test('a request that is over leaves nothing to a full collection', { timeout: 120_000 }, async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const send = async (count: number) => {
    const statuses = await Promise.all(Array.from({ length: count }, () => statusOf(agent)));
    assert.ok(statuses.every((status) => status === 200));
  };
  const sidecars = [pair.caller, pair.callee];
  const sizes = () => Promise.all(sidecars.map(oldGenerationBytes));
  // What the first of them leave is there to stay: caches, connections.
  for (let sent = 0; sent < requests; sent += batch) await send(batch);
  const left = [0, 0];
  let before = await sizes();
  for (let sent = 0; sent < requests; sent += batch) {
    await send(batch);
    const now = await sizes();
    // A full collection, whatever it came from, hides one batch and not the others.
    now.forEach((size, at) => {
      left[at]! += Math.max(0, size - before[at]!) / requests;
    });
    before = now;
  }
  agent.destroy();
  assert.ok(Math.max(...left) < bytesMax, `${left.join(' and ')} bytes of a request`);
});
