import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { silentLogger } from '#runtime/logger.ts';
import { OpenPortCheck, openPortCheckEveryMs, ownAddresses } from '#sidecar/open-port-check.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';

async function listen(host: string) {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as { port: number };
  return { port, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}

function check(port: number, clock: FakeClock) {
  const results: (readonly string[])[] = [];
  const openPortCheck = new OpenPortCheck({
    addresses: ['127.0.0.1', '127.0.0.2'],
    applicationHost: '127.0.0.1',
    ports: [port],
    clock,
    logger: silentLogger,
    onResult: (open) => results.push(open),
  });
  return { openPortCheck, results };
}

describe('the open-port check', () => {
  test('an application on loopback only is not open', async () => {
    await using application = await listen('127.0.0.1');
    const { openPortCheck, results } = check(application.port, new FakeClock());
    using _ = openPortCheck;
    await openPortCheck.start();
    assert.deepEqual(results, [[]]);
  });

  test('an application on every address is open, and is noticed to have closed at the next round', async () => {
    const clock = new FakeClock();
    const application = await listen('0.0.0.0');
    const { openPortCheck, results } = check(application.port, clock);
    using _ = openPortCheck;
    await openPortCheck.start();
    assert.deepEqual(results, [[`127.0.0.2:${application.port}`]]);
    await application[Symbol.asyncDispose]();
    await clock.advance(openPortCheckEveryMs);
    await eventually(() => assert.deepEqual(results.at(1), []));
  });

  test('nothing is dialled after the end', async () => {
    const clock = new FakeClock();
    const { openPortCheck, results } = check(1, clock);
    await openPortCheck.start();
    openPortCheck[Symbol.dispose]();
    await clock.advance(10 * openPortCheckEveryMs);
    assert.equal(results.length, 1);
    assert.equal(clock.pendingTimers, 0);
  });

  test('own addresses are those that others can reach', () => {
    assert.ok(!ownAddresses().includes('127.0.0.1'));
  });
});
