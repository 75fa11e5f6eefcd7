import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { injectPod } from '#control-plane/injector/inject-pod.ts';
import { jsonPatch } from '#control-plane/webhook/json-patch.ts';
import { applyJsonPatch } from '../../support/apply-json-patch.ts';
import { podFiles, podsDirectory, readPodFile, testInjectorSettings } from '../../support/injected-pods.ts';

describe('a patch', () => {
  const cases: readonly (readonly [name: string, from: unknown, to: unknown, paths: readonly string[]])[] = [
    ['is empty between equals', { a: [1, { b: null }] }, { a: [1, { b: null }] }, []],
    ['names a member that differs', { a: { b: 1, c: 2 } }, { a: { b: 1, c: 3 } }, ['add /a/c']],
    ['takes away what has gone', { a: 1, b: 2 }, { a: 1 }, ['remove /b']],
    ['escapes names', { 'a/b~c': 1 }, { 'a/b~c': 2 }, ['add /a~1b~0c']],
    ['puts a list in place as a whole', { a: [1, 2] }, { a: [1, 3] }, ['add /a']],
    [
      'puts things with names between those that are there',
      { a: [{ name: 'x' }, { name: 'y', b: 1 }] },
      { a: [{ name: 'n' }, { name: 'x' }, { name: 'y', b: 2 }, { name: 'z' }] },
      ['add /a/0', 'add /a/2/b', 'add /a/3'],
    ],
    [
      'does not keep what changes places',
      { a: [{ name: 'x' }, { name: 'y' }] },
      { a: [{ name: 'y' }, { name: 'x' }] },
      ['add /a'],
    ],
    ['does not go by names that stand there twice', [{ name: 'x' }, { name: 'x' }], [{ name: 'x' }], ['add ']],
  ];
  for (const [name, from, to, paths] of cases) {
    test(name, () => {
      const patch = jsonPatch(from, to);
      assert.deepEqual(
        patch.map(({ op, path }) => `${op} ${path}`),
        paths,
      );
      assert.deepEqual(applyJsonPatch(from, patch), to);
    });
  }

  test('makes any value of any other', () => {
    const named = fc.uniqueArray(
      fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), v: fc.integer({ min: 0, max: 2 }) }),
      {
        selector: ({ name }) => name,
      },
    );
    const value = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(null, true, 0, 'x'),
        named,
        tie('map'),
        fc.array(tie('value'), { maxLength: 3 }),
      ),
      map: fc.dictionary(fc.constantFrom('a', 'b/c', 'd~e', '__proto__', ''), tie('value')),
    })).value;
    const plain = (one: unknown) => JSON.parse(JSON.stringify(one));
    fc.assert(
      fc.property(value, value, (one, other) => {
        const [from, to] = [plain(one), plain(other)];
        assert.deepEqual(applyJsonPatch(from, jsonPatch(from, to)), to);
      }),
      { numRuns: 2_000, seed: 1 },
    );
  });

  for (const file of podFiles) {
    test(`injects ${file} by additions, and leaves the rest alone`, () => {
      const { pod } = readPodFile(podsDirectory, file);
      const injection = injectPod(pod, testInjectorSettings());
      assert.ok(injection.outcome === 'injected');
      const patch = jsonPatch(pod, injection.pod);
      assert.deepEqual(applyJsonPatch(pod, patch), injection.pod);
      const whole = patch.filter(({ path }) => /^(\/spec|\/metadata)?$/.test(path) || path === '/spec/containers');
      assert.deepEqual(whole, []);
    });
  }
});
