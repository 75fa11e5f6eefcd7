import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Attempts, noRetries } from '#traffic/attempts.ts';
import { Balancer } from '#traffic/balancer.ts';
import type { Instance } from '#traffic/member.ts';
import { FakeClock } from '../support/fake-clock.ts';

const random = { bytes: (count: number) => Buffer.alloc(count), fraction: () => 0.5 };
const instance = (host: string): Instance => ({ host, port: 1, locality: 'here', weight: 1 });
const unreachable = { code: 'upstream_unreachable', retryable: true };
const refused = { code: 'upstream_overloaded', retryable: true };
const reset = { code: 'upstream_failed', retryable: false };
const late = { code: 'upstream_timeout', retryable: false };

function setting(count: number, rule = noRetries) {
  const balancer = new Balancer<Instance>({ clock: new FakeClock(), random, locality: 'here' });
  balancer.update(Array.from({ length: count }, (_, i) => instance(`i${i}`)));
  const begin = () => new Attempts({ balancer, rule, random, upstreamOf: ({ host }: Instance) => host });
  return { balancer, begin };
}

describe('the attempts of a request', () => {
  test('have no first where nobody is known', () => {
    assert.equal(setting(0).begin().first(), undefined);
  });

  test('go to another instance when one cannot be reached, at once, to three at most', () => {
    const attempts = setting(5).begin();
    const hosts = [attempts.first()];
    for (let next = attempts.next({ error: unreachable }); next; next = attempts.next({ error: unreachable })) {
      assert.equal(next.afterMs, 0);
      assert.equal(next.retries, hosts.length);
      hosts.push(next.upstream);
    }
    assert.equal(hosts.length, 3);
    assert.equal(new Set(hosts).size, 3);
  });

  test('end with the only instance when that cannot be reached', () => {
    const attempts = setting(1).begin();
    attempts.first();
    assert.equal(attempts.next({ error: unreachable }), undefined);
  });

  test('are one when the instance may have seen the request and nobody said more', () => {
    for (const failure of [{ error: reset }, { error: late }, { status: 503 }]) {
      const attempts = setting(3).begin();
      attempts.first();
      assert.equal(attempts.next(failure), undefined, JSON.stringify(failure));
    }
    assert.equal(setting(1).begin().mayRetry(503), false);
  });

  test('are as many as the route says, after resets and the statuses that it names', () => {
    const { begin } = setting(1, { attemptsMax: 3, onReset: true, statuses: [503] });
    const attempts = begin();
    attempts.first();
    assert.equal(attempts.next({ error: reset })?.upstream, 'i0', 'the same instance, where there is no other');
    assert.equal(attempts.mayRetry(503), true);
    assert.equal(attempts.mayRetry(502), false);
    assert.equal(attempts.next({ status: 503 })?.retries, 2);
    assert.equal(attempts.mayRetry(503), false, 'three were made');
    assert.equal(attempts.next({ error: reset }), undefined);
  });

  test('are not repeated after a time-out: whoever waited has waited enough', () => {
    const attempts = setting(3, { attemptsMax: 3, onReset: true, statuses: [504] }).begin();
    attempts.first();
    assert.equal(attempts.next({ error: late }), undefined);
  });

  test('wait longer from one to the next', () => {
    const attempts = setting(9, { attemptsMax: 4, onReset: true, statuses: [] }).begin();
    attempts.first();
    const pauses = [1, 2, 3].map(() => attempts.next({ error: reset })!.afterMs);
    assert.deepEqual(pauses, [12.5, 25, 50]);
  });

  test('stay below a fifth of the requests when all of them fail', () => {
    const { begin } = setting(2, { attemptsMax: 2, onReset: true, statuses: [] });
    let retries = 0;
    for (let i = 0; i < 1_000; i++) {
      const attempts = begin();
      attempts.first();
      if (attempts.next({ error: reset }) !== undefined) retries++;
      attempts.over(undefined);
    }
    assert.ok(retries >= 190 && retries <= 210, `${retries} retries of 1000 requests`);
  });

  test('say nothing against an instance whose queue was full, and much against one that cannot be reached', () => {
    const full = setting(2);
    for (let i = 0; i < 20; i++) {
      const attempts = full.begin();
      attempts.first();
      attempts.next({ error: refused });
      attempts.over(refused);
    }
    assert.equal(full.balancer.ejected, 0);
    const { balancer, begin } = setting(2);
    const attempts = begin();
    attempts.first();
    attempts.over(unreachable);
    assert.equal(balancer.ejected, 1);
  });
});
