import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SingleFlight } from '#traffic/single-flight.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('look-ups of one key', () => {
  test('are one, whoever asks meanwhile; the next one asks anew', async () => {
    const flights = new SingleFlight<number>(new FakeClock());
    let asked = 0;
    let answer: (value: number) => void = () => {};
    const look = () => {
      asked++;
      return new Promise<number>((resolve) => {
        answer = resolve;
      });
    };
    const waiting = [flights.run('a', look), flights.run('a', look), flights.run('a', look)];
    answer(7);
    assert.deepEqual(await Promise.all(waiting), [7, 7, 7]);
    assert.equal(asked, 1);
    assert.equal(flights.size, 0);
    void flights.run('a', look);
    assert.equal(asked, 2);
  });

  test('fail together, and a failure is not remembered', async () => {
    const flights = new SingleFlight<number>(new FakeClock());
    const failing = () => Promise.reject(new Error('down'));
    const results = await Promise.allSettled([flights.run('a', failing), flights.run('a', failing)]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    assert.equal(await flights.run('a', async () => 1), 1);
  });

  test('end at their deadline, and whoever looks is told to stop', async () => {
    const clock = new FakeClock();
    const flights = new SingleFlight<number>(clock, 2_000);
    let signal: AbortSignal | undefined;
    const flight = flights.run('a', (given) => {
      signal = given;
      return new Promise(() => {});
    });
    const refused = assert.rejects(flight, { code: 'look_up_timeout', retryable: true });
    await clock.advance(2_000);
    await refused;
    assert.equal(signal?.aborted, true);
    assert.equal(flights.size, 0);
  });

  test('of different keys do not wait for each other', async () => {
    const flights = new SingleFlight<number>(new FakeClock());
    void flights.run('slow', () => new Promise(() => {}));
    assert.equal(await flights.run('quick', async () => 2), 2);
  });
});
