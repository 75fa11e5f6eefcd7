import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Leadership } from '#control-plane/controller/leadership.ts';
import { Farewell } from '#control-plane/farewell.ts';
import { FakeClock } from '../support/fake-clock.ts';

const config = { settle: 5_000 };

test('a replica of a cluster that ends is not ready at once, leads no more, and serves on until nobody is sent to it', async () => {
  const clock = new FakeClock();
  const ended: string[] = [];
  const leadership = {
    async [Symbol.asyncDispose]() {
      ended.push('leadership');
    },
  } as Leadership;
  const farewell = new Farewell({ config, connection: { leadership } }, clock);
  assert.deepEqual(farewell.notReady(), []);
  const end = farewell[Symbol.asyncDispose]().then(() => ended.push('farewell'));
  assert.deepEqual(farewell.notReady(), ['stopping']);
  await clock.advance(4_999);
  assert.deepEqual(ended, ['leadership']);
  await clock.advance(1);
  await end;
  assert.deepEqual(ended, ['leadership', 'farewell']);
});

test('one outside of a cluster ends at once', async () => {
  const farewell = new Farewell({ config, connection: undefined }, new FakeClock());
  await farewell[Symbol.asyncDispose]();
  assert.deepEqual(farewell.notReady(), ['stopping']);
});
