import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import { shadowedRules } from '#policy/lint/shadowed-rules.ts';
import { matchesPath, parsePathPattern } from '#policy/path-pattern.ts';
import { coversPattern, overlapsPattern } from '#policy/pattern-relations.ts';
import { shadows } from '#policy/rule-coverage.ts';
import { request, rules, snapshotOf } from '../random-policy.ts';

const runs = { numRuns: 5_000 };

describe('a rule that lint calls shadowed', () => {
  test('can go, with all others of them, and no request is decided otherwise', () => {
    let shadowed = 0;
    fc.assert(
      fc.property(snapshotOf(rules(12)), request, (snapshot, asked) => {
        const useless = shadowedRules(snapshot.rules, snapshot);
        shadowed += useless.size;
        const fewer = { ...snapshot, rules: snapshot.rules.filter((_, at) => !useless.has(at)) };
        const [before, after] = [snapshot, fewer].map((one) => new InboundPolicy(one).decide(asked));
        assert.equal(after!.outcome, before!.outcome);
        if (before!.outcome === 'deny' && after!.outcome === 'deny')
          assert.equal(after!.failed.condition, before!.failed.condition);
      }),
      runs,
    );
    assert.ok(shadowed > runs.numRuns / 5, `only ${shadowed} rules were shadowed`);
  });

  test('behind the one that shadows it makes no difference at all, not even to why', () => {
    fc.assert(
      fc.property(snapshotOf(rules(12)), request, (snapshot, asked) => {
        const useless = shadowedRules(snapshot.rules, snapshot);
        const later = new Set([...useless].filter(([narrow, broad]) => broad < narrow).map(([narrow]) => narrow));
        const fewer = { ...snapshot, rules: snapshot.rules.filter((_, at) => !later.has(at)) };
        assert.deepEqual(new InboundPolicy(fewer).decide(asked), new InboundPolicy(snapshot).decide(asked));
      }),
      runs,
    );
  });

  test('is found among copies: all but the first', () => {
    fc.assert(
      fc.property(snapshotOf(rules(1)), fc.integer({ min: 2, max: 4 }), (snapshot, count) => {
        const copies = Array.from({ length: count }, () => snapshot.rules).flat();
        const found = shadowedRules(copies, snapshot);
        const isKnown = (id: (typeof copies)[number]['ids'][number]) =>
          snapshot.callers.some((caller) => caller.id === id) || snapshot.undeclared.includes(id);
        for (const rule of copies) assert.ok(shadows(rule, rule, isKnown));
        assert.deepEqual([...found.keys()], copies.map((_, at) => at).slice(1));
      }),
    );
  });

  test('is none that has a budget of its own, or that asks whose data is meant', () => {
    const [plain] = fc.sample(
      rules(1).filter(({ length }) => length > 0),
      { numRuns: 1, seed: 1 },
    );
    const rule = { ...plain![0]!, sensitive: false };
    const limited = { ...rule, limits: [{ per: 'rule' as const, perSecond: 1, burst: 1 }] };
    const isKnown = () => true;
    assert.deepEqual(
      [shadows(rule, limited, isKnown), shadows(limited, rule, isKnown), shadows(limited, limited, isKnown)],
      [true, false, false],
    );
    assert.deepEqual(
      [shadows(rule, { ...rule, sensitive: true }, isKnown), shadows({ ...rule, sensitive: true }, rule, isKnown)],
      [false, true],
    );
  });
});

describe('patterns', () => {
  const segment = fc.constantFrom('a', 'b', '*');
  const pattern = fc
    .tuple(fc.array(segment, { maxLength: 3 }), fc.constantFrom('', '/', '/**'))
    .map(([parts, end]) => parsePathPattern(`/${parts.join('/')}${parts.length === 0 ? end.slice(1) : end}`));
  /** Every path of up to four segments, with a slash at the end and without, of letters that patterns name and one that none does. */
  const longer = (some: readonly string[]) => some.flatMap((path) => ['a', 'b', 'c'].map((one) => `${path}/${one}`));
  const one = longer(['']);
  const two = longer(one);
  const three = longer(two);
  const paths = ['', ...one, ...two, ...three, ...longer(three)]
    .flatMap((path) => (path === '' ? ['/'] : [path, `${path}/`]))
    .map(parseCanonicalPath);

  test('cover each other as the paths say that they match', () => {
    fc.assert(
      fc.property(pattern, pattern, (broad, narrow) => {
        const isCovered = paths.every((path) => !matchesPath(narrow, path) || matchesPath(broad, path));
        assert.equal(coversPattern(broad, narrow), isCovered, `${broad.text} ${narrow.text}`);
      }),
      runs,
    );
  });

  test('overlap as the paths say', () => {
    fc.assert(
      fc.property(pattern, pattern, (one, other) => {
        const isShared = paths.some((path) => matchesPath(one, path) && matchesPath(other, path));
        assert.equal(overlapsPattern(one, other), isShared, `${one.text} ${other.text}`);
      }),
      runs,
    );
  });
});
