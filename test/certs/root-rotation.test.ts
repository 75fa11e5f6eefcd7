import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { Authority } from '#certs/authority.ts';
import type { IntermediateSource } from '#certs/intermediate.ts';
import { RootKeeper } from '#certs/root-keeper.ts';
import { handoverShare, type Listener, urgentWaitMsMax } from '#certs/root-rotation.ts';
import type { RootStore } from '#certs/root-store.ts';
import { rootLifetimeMs } from '#certs/roots.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { bundlesOf, parseTrustBundle, serializeTrustBundle } from '#certs/trust-bundle.ts';
import { verifySvid } from '#certs/verify-svid.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryRootStore } from '../support/root-store-memory.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');
const id = workloadId(trustDomain, 'messaging', 'api');
const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const hourMs = 3600_000;
const rules = { beginAfter: 2 / 3, publishMsMin: 12 * hourMs, svidLifetimeMs: 12 * hourMs };
const retiresAfterMs = rules.svidLifetimeMs * (1 + handoverShare);
const minuteMs = 60_000;

interface Setting {
  readonly clock: FakeClock;
  readonly store: RootStore;
  readonly listeners: Listener[];
  keeper: RootKeeper;
  authority: Authority;
  restart(): Promise<void>;
}

async function setting(
  change: { clock?: FakeClock; store?: RootStore; rootLifetimeMs?: number } = {},
): Promise<Setting & Disposable> {
  const clock = change.clock ?? new FakeClock();
  const store = change.store ?? new MemoryRootStore();
  const listeners: Listener[] = [];
  const common = { trustDomain, clock, random: systemRandom, logger: silentLogger };
  const start = async () => {
    const keeper = await RootKeeper.open({ ...common, ...change, store, clock, rules });
    const authority = await Authority.create({ ...common, bundle: keeper.bundle, intermediates: keeper.intermediates });
    keeper.follow(() => listeners);
    await clock.advance(0);
    return { keeper, authority };
  };
  const stop = () => {
    at.keeper[Symbol.dispose]();
    at.authority[Symbol.dispose]();
  };
  const at: Setting & Disposable = {
    clock,
    store,
    listeners,
    ...(await start()),
    async restart() {
      stop();
      assert.equal(clock.pendingTimers, 0);
      Object.assign(at, await start());
    },
    [Symbol.dispose]: stop,
  };
  return at;
}

function phases({ keeper }: Setting): string[] {
  return keeper.status().roots.map(({ phase }) => phase);
}

/** What is issued now is good for whoever has the bundle of now, after its way through the document. */
async function issues({ authority, keeper, clock }: Setting): Promise<readonly Buffer[]> {
  const { chainDer } = await authority.issue({ id, publicKey });
  const bundle = parseTrustBundle(serializeTrustBundle(keeper.bundle.current), trustDomain);
  verifySvid(chainDer, bundlesOf(bundle), clock.now());
  return chainDer;
}

describe('a rotation of roots', () => {
  test('begins by itself, after two thirds of the life of the root', async () => {
    using at = await setting();
    await at.clock.advance((rootLifetimeMs * 2) / 3 - hourMs);
    assert.deepEqual(phases(at), ['active']);
    await at.clock.advance(2 * hourMs);
    assert.deepEqual(phases(at), ['active', 'published']);
  });

  test('publishes, waits for the time and for everybody, activates, and retires what nobody can need', async () => {
    using at = await setting();
    const first = at.keeper.bundle.current;
    at.listeners.push({ name: 'slow' });
    await at.keeper.rotate(false);
    const second = at.keeper.bundle.current;
    assert.equal(second.roots.length, 2);
    assert.deepEqual(second.roots[0]!.der, first.roots[0]!.der, 'the one that signs comes first');
    assert.ok(second.sequence > first.sequence);

    await at.clock.advance(rules.publishMsMin + hourMs);
    assert.deepEqual(phases(at), ['active', 'published']);
    assert.deepEqual(at.keeper.status().waits?.for, ['slow']);
    const old = await issues(at);
    at.listeners.length = 0;
    await at.clock.advance(minuteMs);
    assert.deepEqual(phases(at), ['retiring', 'active']);
    assert.ok(at.keeper.bundle.current.sequence > second.sequence);
    assert.deepEqual(at.keeper.bundle.current.roots[0]!.der, second.roots[1]!.der);
    const young = await issues(at);
    const [root] = at.keeper.bundle.current.roots;
    assert.equal(verifySvid(young, bundlesOf(at.keeper.bundle.current), at.clock.now()).root.serial, root!.serial);

    // The last SVID below the old root ends before its root goes.
    await at.clock.advance(rules.svidLifetimeMs - 2 * minuteMs);
    verifySvid(old, bundlesOf(at.keeper.bundle.current), at.clock.now());
    await at.clock.advance(retiresAfterMs - rules.svidLifetimeMs + 3 * minuteMs);
    assert.deepEqual(phases(at), ['active']);
    assert.deepEqual(
      at.keeper.bundle.current.roots.map(({ serial }) => serial),
      [root!.serial],
    );
    await issues(at);
  });

  test('does not sign before the time, however quickly all have heard', async () => {
    using at = await setting();
    await at.keeper.rotate(false);
    await at.clock.advance(rules.publishMsMin - minuteMs);
    assert.deepEqual(phases(at), ['active', 'published']);
    await at.clock.advance(2 * minuteMs);
    assert.deepEqual(phases(at), ['retiring', 'active']);
  });

  test('goes on where it was after a restart in every phase', async () => {
    using at = await setting();
    const seen: string[] = [];
    const look = async () => {
      const before = serializeTrustBundle(at.keeper.bundle.current);
      await at.restart();
      assert.equal(serializeTrustBundle(at.keeper.bundle.current), before);
      seen.push(phases(at).join('+'));
      await issues(at);
    };
    await look();
    await at.keeper.rotate(false);
    await look();
    await at.clock.advance(rules.publishMsMin + minuteMs);
    await look();
    await at.clock.advance(retiresAfterMs + minuteMs);
    await look();
    assert.deepEqual(seen, ['active', 'active+published', 'retiring+active', 'active']);
  });

  test('that was killed after any save ends as one that was not', async () => {
    for (const killedAt of [1, 2, 3, 4, 5, 6]) {
      const clock = new FakeClock();
      const memory = new MemoryRootStore();
      let saves = 0;
      const store: RootStore = {
        recovery: memory.recovery,
        load: () => memory.load(),
        async save(roots, version) {
          const saved = await memory.save(roots, version);
          if (++saves === killedAt) throw new Error('killed after the save');
          return saved;
        },
      };
      const killed = await setting({ clock, store }).catch(() => undefined);
      await killed?.keeper.rotate(false).catch(() => {});
      await clock.advance(rules.publishMsMin + retiresAfterMs + hourMs);
      killed?.[Symbol.dispose]();
      using at = await setting({ clock, store: memory });
      if (saves < 3) await at.keeper.rotate(false);
      await clock.advance(rules.publishMsMin + retiresAfterMs + hourMs);
      assert.deepEqual(phases(at), ['active'], `killed after save ${killedAt} of ${saves}`);
      await issues(at);
    }
  });

  test('waits for somebody with a limit no longer than that, and for nobody when the root in use is about to end', async () => {
    using at = await setting({ rootLifetimeMs: 10 * 24 * hourMs });
    at.listeners.push({ name: 'identity', waitMsMax: 24 * hourMs });
    await at.keeper.rotate(false);
    await at.clock.advance(24 * hourMs - minuteMs);
    assert.deepEqual(at.keeper.status().waits?.for, ['identity']);
    await at.clock.advance(2 * minuteMs);
    assert.deepEqual(phases(at), ['retiring', 'active']);

    await at.clock.advance(retiresAfterMs + minuteMs);
    at.listeners.splice(0, 1, { name: 'stuck' });
    const { notAfter } = at.keeper.status().roots[0]!;
    await at.clock.advance(notAfter - 3 * rules.svidLifetimeMs - at.clock.now());
    assert.deepEqual(phases(at), ['active', 'published']);
    await at.clock.advance(rules.svidLifetimeMs + minuteMs);
    assert.deepEqual(phases(at), ['retiring', 'active']);
    await issues(at);
  });

  test('that is begun twice is one', async () => {
    using at = await setting();
    await Promise.all([at.keeper.rotate(false), at.keeper.rotate(false)]);
    assert.deepEqual(phases(at), ['active', 'published']);
  });

  test('the key of a root that does not sign any more is not kept', async () => {
    using at = await setting();
    await at.keeper.rotate(false);
    await at.clock.advance(rules.publishMsMin + minuteMs);
    const { roots } = (await at.store.load())!.roots;
    assert.deepEqual(
      roots.map(({ phase, privateKey }) => [phase, privateKey !== undefined]),
      [
        ['retiring', false],
        ['active', true],
      ],
    );
  });
});

describe('an urgent rotation', () => {
  test('takes the root away in seconds; what it signs elsewhere is refused, our own SVIDs are not', async () => {
    using at = await setting();
    at.listeners.push({ name: 'slow' });
    const stolen = (await at.store.load())!.roots;
    const ours = await issues(at);
    await at.keeper.rotate(true);
    assert.deepEqual(at.keeper.status().waits?.for, ['slow']);
    await at.clock.advance(urgentWaitMsMax + 1_000);
    assert.deepEqual(phases(at), ['replaced', 'active']);
    const bundles = bundlesOf(parseTrustBundle(serializeTrustBundle(at.keeper.bundle.current), trustDomain));
    verifySvid(ours, bundles, at.clock.now());
    await issues(at);

    const thief = new MemoryRootStore();
    await thief.save(stolen, undefined);
    {
      using forging = await setting({ clock: at.clock, store: thief });
      const forged = (await forging.authority.issue({ id, publicKey })).chainDer;
      assert.throws(() => verifySvid(forged, bundles, at.clock.now()), { rule: 'root_unknown' });
    }

    await at.restart();
    assert.deepEqual(phases(at), ['replaced', 'active']);
    await at.clock.advance(retiresAfterMs);
    assert.deepEqual(phases(at), ['active']);
    assert.equal(at.keeper.bundle.current.roots.length, 1);
  });

  test('hurries the one that is under way', async () => {
    using at = await setting();
    await at.keeper.rotate(false);
    await at.clock.advance(hourMs);
    await at.keeper.rotate(true);
    assert.deepEqual(phases(at), ['replaced', 'active']);
  });
});

describe('a cell that was off', () => {
  test('for longer than its root lives says so, and what to do', async () => {
    using at = await setting();
    at.keeper[Symbol.dispose]();
    at.authority[Symbol.dispose]();
    await at.clock.advance(rootLifetimeMs + hourMs);
    await assert.rejects(setting({ clock: at.clock, store: at.store }), {
      code: 'root_expired',
      message: /the root of cell-1\.example\.com ended 2027-01-01T00:00:00\.000Z.*cellmesh certs recover/,
    });
  });

  test('with the next root published already goes on with that', async () => {
    using at = await setting();
    at.listeners.push({ name: 'stuck' });
    await at.clock.advance(rootLifetimeMs / 2);
    await at.keeper.rotate(false);
    assert.deepEqual(phases(at), ['active', 'published']);
    at.keeper[Symbol.dispose]();
    at.authority[Symbol.dispose]();
    await at.clock.advance(rootLifetimeMs / 2 + hourMs);
    using back = await setting({ clock: at.clock, store: at.store });
    assert.deepEqual(phases(back), ['retiring', 'active']);
    await issues(back);
  });
});

describe('an authority whose root lies elsewhere', () => {
  /** As a replica without the root sees it: what it asks may be answered late, or wrongly. */
  async function replica(at: Setting, change: (answer: Uint8Array, csr: Buffer) => Promise<Uint8Array>) {
    const intermediates: IntermediateSource = {
      requestIntermediate: async (csr) => change(await at.keeper.intermediates.requestIntermediate(csr), csr),
    };
    const common = { trustDomain, clock: at.clock, random: systemRandom, logger: silentLogger };
    return Authority.create({ ...common, bundle: at.keeper.bundle, intermediates });
  }

  test('has an intermediate below the new root as soon as that signs', async () => {
    using at = await setting();
    using other = await replica(at, async (answer) => answer);
    const before = other.intermediate.serial;
    await at.keeper.rotate(false);
    await at.clock.advance(rules.publishMsMin - minuteMs);
    assert.equal(other.intermediate.serial, before);
    await at.clock.advance(2 * minuteMs);
    assert.equal(other.intermediate.isSignedBy(at.keeper.bundle.current.roots[0]!.publicKey), true);
  });

  test('goes on with the one before for an hour when it gets none, and not longer', async () => {
    using at = await setting();
    let isAway = false;
    using other = await replica(at, async (answer) => {
      if (isAway) throw new Error('nobody answers');
      return answer;
    });
    await at.keeper.rotate(false);
    isAway = true;
    await at.clock.advance(rules.publishMsMin + minuteMs);
    assert.deepEqual(phases(at), ['retiring', 'active']);
    const { chainDer, notAfter } = await other.issue({ id, publicKey });
    verifySvid(chainDer, bundlesOf(at.keeper.bundle.current), at.clock.now());
    assert.ok(notAfter <= at.keeper.status().roots[0]!.until!);
    await at.clock.advance(rules.svidLifetimeMs * handoverShare + minuteMs);
    await assert.rejects(other.issue({ id, publicKey }), /nobody answers/);
    isAway = false;
    await other.issue({ id, publicKey });
  });

  test('refuses what is not for its key, not by a root of the bundle, or no authority', async () => {
    using at = await setting();
    using foreign = await setting();
    const another = async () => at.authority.intermediate.der;
    await assert.rejects(replica(at, another), { code: 'svid_not_issued', message: /for another key/ });
    const byOther = (_: Uint8Array, csr: Buffer) => foreign.keeper.intermediates.requestIntermediate(csr);
    await assert.rejects(replica(at, byOther), { code: 'svid_not_issued', message: /no root in the bundle/ });
    await assert.rejects(
      replica(at, async () => Buffer.from('no certificate')),
      { code: 'certificate_invalid' },
    );
  });
});
