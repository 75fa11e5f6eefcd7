import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { Registrations, registrationMigration } from '#control-plane/registrations.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const service = workloadId(parseTrustDomain('cell-1.example'), 'n', 'a');
const at = (port: number, weight = 100) => ({ host: '127.0.0.1', port, locality: 'zone-a', weight });

async function setting() {
  const directory = await temporaryDirectory();
  const clock = new FakeClock();
  const changes: SpiffeId[] = [];
  const open = () => {
    const database = openDatabase({
      file: join(directory.path, 'x.db'),
      application: 'x',
      migrations: [registrationMigration],
    });
    const registrations = new Registrations({ database, clock, onChanged: (id) => changes.push(id) });
    const close = () => {
      registrations[Symbol.dispose]();
      database.close();
    };
    return { registrations, close };
  };
  return { clock, changes, open, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}

describe('instances of a service', () => {
  test('are known as they said themselves, and whoever asks is told of a change once', async () => {
    await using state = await setting();
    const { registrations, close } = state.open();
    registrations.register(service, 'a-1', at(1));
    registrations.register(service, 'a-2', at(2, 50));
    registrations.register(service, 'a-2', at(2, 50));
    assert.deepEqual(registrations.endpointsOf(service), [at(1), at(2, 50)]);
    assert.deepEqual([registrations.hasHost('127.0.0.1'), registrations.hasHost('127.0.0.2')], [true, false]);
    assert.equal(state.changes.length, 2);
    registrations.register(service, 'a-1', at(3));
    assert.deepEqual(registrations.endpointsOf(service), [at(3), at(2, 50)]);
    assert.equal(state.changes.length, 3);
    close();
  });

  test('whose stream is gone are kept for a while, and stay if they come back', async () => {
    await using state = await setting();
    const { registrations, close } = state.open();
    registrations.register(service, 'a-1', at(1));
    registrations.register(service, 'a-2', at(2));
    registrations.lost(service, 'a-1');
    registrations.lost(service, 'a-2');
    await state.clock.advance(14_999);
    assert.equal(registrations.endpointsOf(service).length, 2);
    registrations.register(service, 'a-2', at(2));
    await state.clock.advance(1);
    assert.deepEqual(registrations.endpointsOf(service), [at(2)]);
    close();
  });

  test('outlive a restart of the control plane, and are forgotten when they do not come back', async () => {
    await using state = await setting();
    const first = state.open();
    first.registrations.register(service, 'a-1', at(1));
    first.close();
    const second = state.open();
    assert.deepEqual(second.registrations.endpointsOf(service), [at(1)]);
    await state.clock.advance(15_000);
    assert.deepEqual(second.registrations.endpointsOf(service), []);
    second.close();
    const third = state.open();
    assert.deepEqual(third.registrations.endpointsOf(service), []);
    third.close();
  });
});
