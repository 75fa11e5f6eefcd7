import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import { idsMax, nodesMax, PathTrie, siblingsMax } from '#policy/generate/path-trie.ts';
import { matchesPath, parsePathPattern } from '#policy/path-pattern.ts';

interface Leaf {
  requests: number;
}

function trie(): PathTrie<Leaf> {
  return new PathTrie<Leaf>(
    () => ({ requests: 0 }),
    (into, from) => {
      into.requests += from.requests;
    },
  );
}

function patternsOf(paths: readonly string[]): Record<string, number> {
  const all = trie();
  for (const path of paths) {
    const leaf = all.at(path);
    if (leaf !== undefined) leaf.requests++;
  }
  return Object.fromEntries(all.patterns().map(([pattern, { requests }]) => [pattern, requests]));
}

const numbered = (count: number, path: (n: number) => string) => Array.from({ length: count }, (_, n) => path(n));

describe('paths that were seen', () => {
  test(`stay as they are up to ${idsMax} siblings that look like ids, and are one pattern from then on`, () => {
    assert.deepEqual(Object.keys(patternsOf(numbered(idsMax, (n) => `/orders/${n}`))).length, idsMax);
    assert.deepEqual(patternsOf(numbered(idsMax + 1, (n) => `/orders/${n}`)), { '/orders/*': idsMax + 1 });
  });

  test(`are one pattern past ${siblingsMax} siblings of any kind`, () => {
    const name = (n: number) => `/users/${n.toString(26).replace(/\d/g, (digit) => 'qrstuvwxyz'[Number(digit)]!)}x`;
    assert.equal(Object.keys(patternsOf(numbered(siblingsMax, name))).length, siblingsMax);
    assert.deepEqual(patternsOf(numbered(siblingsMax + 1, name)), { '/users/*': siblingsMax + 1 });
  });

  test('keep what is no id beside ids, and what follows on them', () => {
    const ids = numbered(9, (n) => `/orders/${n}/items`);
    assert.deepEqual(
      patternsOf([...ids, '/orders/latest', '/orders/', '/orders/77', '/v1/a', '/v2/a', '/v3/a', '/v4/a', '/v5/a']),
      {
        '/orders/': 1,
        '/orders/*': 1,
        '/orders/*/items': 9,
        '/orders/latest': 1,
        ...Object.fromEntries(numbered(5, (n) => `/v${n + 1}/a`).map((path) => [path, 1])),
      },
    );
  });

  test('that no pattern can name to the letter are meant by `*`, and longer ones have no place', () => {
    assert.deepEqual(patternsOf(['/a/x*y', '/a/b', '/a/17', '/']), { '/': 1, '/a/*': 2, '/a/b': 1 });
    assert.deepEqual(patternsOf([`/${numbered(33, () => 'a').join('/')}`]), {});
  });

  test(`are ${nodesMax} segments at most`, () => {
    const all = trie();
    const letters = [...'abcdefghijklmnopqrstuvwxyz'];
    const words = letters.flatMap((a) => letters.slice(0, 7).map((b) => a + b));
    let refused = 0;
    for (const a of words)
      for (const b of words) for (const c of words.slice(0, 5)) if (!all.at(`/${a}/${b}/${c}`)) refused++;
    assert.ok(refused > 0);
    assert.ok(all.patterns().length <= nodesMax);
  });

  test('have the same patterns in any order, and each path is meant by one', () => {
    const segment = fc.constantFrom(
      'a',
      'b',
      'x*',
      '',
      ...numbered(7, (n) => `${n}`),
      ...numbered(3, (n) => `id-${n}77`),
    );
    const path = fc
      .array(segment, { minLength: 1, maxLength: 4 })
      .map((parts) => `/${parts.filter((part, at) => part !== '' || at === parts.length - 1).join('/')}`);
    fc.assert(
      fc.property(fc.array(path, { maxLength: 60 }), fc.infiniteStream(fc.nat()), (paths, random) => {
        const found = patternsOf(paths);
        const order = paths.map((one) => [random.next().value!, one] as const).sort(([a], [b]) => a - b);
        assert.deepEqual(patternsOf(order.map(([, one]) => one)), found);
        const patterns = Object.keys(found).map(parsePathPattern);
        for (const one of paths)
          assert.ok(
            patterns.some((pattern) => matchesPath(pattern, parseCanonicalPath(one))),
            one,
          );
        const total = Object.values(found).reduce((sum, requests) => sum + requests, 0);
        assert.equal(total, paths.length);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('a segment', () => {
  const kinds: readonly (readonly [what: string, isId: boolean, segment: (n: number) => string])[] = [
    ['a number', true, (n) => `${n}`],
    ['a date', true, (n) => `2026-11-0${n}`],
    ['a word with a number', true, (n) => `order-${1234 + n}`],
    ['a UUID', true, (n) => `3f2504e0-4f89-11d3-9a0c-0305e82c330${n}`],
    ['an account', true, (n) => `AC0000000000000000000000000000000${n}`],
    ['a ULID', true, (n) => `01J9ZK3W8V${n}`],
    ['a word', false, (n) => `${'abcdefgh'[n]}rders`],
    ['a version', false, (n) => `v${n}`],
    ['a longer word with a digit', false, (n) => `deliveries-${n}`],
    ['a name with dots', false, (n) => `pkg.v${n}.Service`],
  ];
  for (const [what, isId, segment] of kinds) {
    test(`like ${segment(1)} is ${isId ? 'an id' : 'none'}: ${what}`, () => {
      const patterns = Object.keys(patternsOf(numbered(idsMax + 1, (n) => `/x/${segment(n)}`)));
      assert.equal(patterns.length, isId ? 1 : idsMax + 1);
    });
  }
});
