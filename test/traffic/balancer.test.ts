import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Balancer } from '#traffic/balancer.ts';
import type { Instance } from '#traffic/member.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** The same numbers every time (a linear congruential generator), evenly spread. */
function fixedRandom() {
  let state = 42;
  return {
    bytes: (count: number) => Buffer.alloc(count),
    fraction() {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    },
  };
}

const at = (host: string, locality = 'here', weight = 1): Instance => ({ host, port: 1, locality, weight });
const [a, b, c] = [at('a'), at('b'), at('c')];

function setting(instances: readonly Instance[]) {
  const clock = new FakeClock();
  const balancer = new Balancer<Instance>({ clock, random: fixedRandom(), locality: 'here' });
  balancer.update(instances);
  /** Requests one after another, each answered at once; how many each instance got. */
  const shares = (count: number) => {
    const got: Record<string, number> = {};
    for (let i = 0; i < count; i++) {
      const placement = balancer.pick()!;
      got[placement.instance.host] = (got[placement.instance.host] ?? 0) + 1;
      placement.answered(false);
      placement.release();
    }
    return got;
  };
  /** One request to a given instance. */
  const at = (instance: Instance) => balancer.pick(instances.filter((other) => other !== instance))!;
  const fail = (instance: Instance, times: number) => {
    for (let i = 0; i < times; i++) {
      const placement = at(instance);
      placement.failed();
      placement.release();
    }
  };
  return { clock, balancer, shares, at, fail };
}

describe('a balancer', () => {
  test('has nobody to choose where nobody is known, and one where one is', () => {
    const { balancer } = setting([]);
    assert.equal(balancer.pick(), undefined);
    balancer.update([a]);
    assert.equal(balancer.pick()!.instance, a);
    assert.equal(balancer.pick([a]), undefined);
  });

  test('spreads over equals, and by weight over others', () => {
    const even = setting([a, b, c]).shares(3_000);
    for (const host of ['a', 'b', 'c']) assert.ok(even[host]! > 700 && even[host]! < 1_300, JSON.stringify(even));
    const heavy = setting([at('a', 'here', 3), at('b', 'here', 1)]).shares(3_000);
    assert.ok(heavy['a']! > 2 * heavy['b']!, JSON.stringify(heavy));
  });

  test('prefers who is less busy', () => {
    const { balancer } = setting([a, b]);
    const open: Record<string, number> = { a: 0, b: 0 };
    for (let i = 0; i < 100; i++) open[balancer.pick()!.instance.host]!++;
    assert.ok(Math.abs(open['a']! - open['b']!) <= 10, JSON.stringify(open));
  });

  test('avoids who is slow, notices a rise at once, and forgets it', async () => {
    const { clock, at, shares } = setting([a, b]);
    for (const [instance, latencyMs] of [
      [a, 100],
      [b, 5],
    ] as const) {
      const placement = at(instance);
      await clock.advance(latencyMs);
      placement.answered(false);
      placement.release();
    }
    const slowGot = shares(400)['a'] ?? 0;
    assert.ok(slowGot < 160, `the slow one got ${slowGot} of 400`);
    await clock.advance(120_000);
    const later = shares(400)['a'] ?? 0;
    assert.ok(later > slowGot, `after two minutes the slow one got ${later}`);
  });

  test('does not take a slow upload for a slow instance', async () => {
    const { clock, at, shares } = setting([a, b]);
    for (const [instance, uploadMs, latencyMs] of [
      [a, 60_000, 5],
      [b, 0, 50],
    ] as const) {
      const placement = at(instance);
      await clock.advance(uploadMs);
      placement.sent();
      await clock.advance(latencyMs);
      placement.answered(false);
      placement.release();
    }
    const got = shares(400);
    assert.ok(got['a']! > got['b']!, JSON.stringify(got));
  });

  test('leaves out who cannot be reached, at once, and tries it again by one request', async () => {
    const { clock, balancer, shares, at } = setting([a, b]);
    const lost = at(a);
    lost.unreachable();
    assert.equal(balancer.ejected, 1);
    assert.deepEqual(shares(100), { b: 100 });
    await clock.advance(5_000);
    const probe = balancer.pick()!;
    assert.equal(probe.instance, a);
    assert.equal(balancer.pick()!.instance, b, 'one probe at a time');
    probe.unreachable();
    probe.release();
    await clock.advance(5_000);
    assert.equal(balancer.pick()!.instance, b, 'the second time it is left out for longer');
    await clock.advance(5_000);
    const second = balancer.pick()!;
    assert.equal(second.instance, a);
    second.answered(false);
    second.release();
    assert.equal(balancer.ejected, 0);
  });

  test('leaves out who fails five times in a row, and never more than half', () => {
    const { balancer, shares, fail } = setting([a, b]);
    fail(a, 4);
    assert.equal(balancer.ejected, 0);
    fail(a, 1);
    assert.equal(balancer.ejected, 1);
    assert.deepEqual(shares(20), { b: 20 });
    fail(b, 20);
    assert.equal(balancer.ejected, 1);
  });

  test('a success between failures keeps an instance in', () => {
    const { balancer, at, fail } = setting([a, b]);
    for (let i = 0; i < 5; i++) {
      fail(a, 4);
      const placement = at(a);
      placement.answered(false);
      placement.release();
    }
    assert.equal(balancer.ejected, 0);
  });

  test('an answer from before an ejection does not end it', async () => {
    const { clock, balancer, at, fail } = setting([a, b]);
    const early = at(a);
    await clock.advance(1);
    fail(a, 5);
    early.answered(false);
    assert.equal(balancer.ejected, 1);
  });

  test('uses even the ejected when nobody else is left', () => {
    const { balancer, at } = setting([a, b]);
    at(a).unreachable();
    at(b).unreachable();
    assert.equal(balancer.ejected, 2);
    assert.notEqual(balancer.pick(), undefined);
  });

  test('stays in its own zone, and spills in proportion when less than 70 % of it is well', () => {
    const own = Array.from({ length: 10 }, (_, i) => at(`own-${i}`));
    const far = [at('far-1', 'elsewhere'), at('far-2', 'elsewhere')];
    const { shares, at: place } = setting([...own, ...far]);
    const sent = (got: Record<string, number>) => (got['far-1'] ?? 0) + (got['far-2'] ?? 0);
    assert.equal(sent(shares(500)), 0);
    for (const instance of own.slice(0, 3)) place(instance).unreachable();
    assert.equal(sent(shares(500)), 0, '70 % is well');
    for (const instance of own.slice(3, 6)) place(instance).unreachable();
    // 40 % is well: 40/70 stay, the rest goes.
    const spilled = sent(shares(2_000));
    assert.ok(spilled > 700 && spilled < 1_020, `${spilled} of 2000 went elsewhere`);
  });

  test('goes elsewhere when its own zone has nobody', () => {
    const { balancer } = setting([at('far', 'elsewhere')]);
    assert.equal(balancer.pick()!.instance.host, 'far');
  });

  test('gives a new instance a tenth of its share first, and all of it after 30 seconds', async () => {
    const { clock, balancer, shares } = setting([a, b]);
    shares(10);
    await clock.advance(60_000);
    balancer.update([a, b, c]);
    const first = shares(3_000)['c'] ?? 0;
    assert.ok(first < 250, `${first} of 3000 at once`);
    await clock.advance(15_000);
    const half = shares(3_000)['c'] ?? 0;
    assert.ok(half > first && half < 900, `${half} of 3000 after 15 s`);
    await clock.advance(15_000);
    const full = shares(3_000)['c'] ?? 0;
    assert.ok(full > 800, `${full} of 3000 after 30 s`);
  });

  test('knows an instance again as long as it is listed', () => {
    const { balancer, at } = setting([a, b]);
    at(a).unreachable();
    balancer.update([{ ...a }, b]);
    assert.equal(balancer.ejected, 1);
    balancer.update([b]);
    assert.equal(balancer.ejected, 0);
  });
});
