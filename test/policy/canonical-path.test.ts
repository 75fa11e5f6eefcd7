import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalTarget, PathRejected, parseCanonicalPath } from '#policy/canonical-path.ts';
import { matchesPath, parsePathPattern } from '#policy/path-pattern.ts';

test('needless encoding is undone, the rest is written in upper case', () => {
  assert.equal(parseCanonicalPath('/%61%2D%c3%a9/x'), '/a-%C3%A9/x');
  assert.deepEqual(canonicalTarget('/a?b=%2e/..;'), { path: '/a', query: '?b=%2e/..;' });
  assert.equal(parseCanonicalPath('/'), '/');
  assert.equal(parseCanonicalPath('/a/'), '/a/');
});

test('what servers read differently is refused by name', () => {
  const refused: Record<string, string> = {
    '/admin%2F..%2Fpublic': 'path_encoded_separator',
    '/a%5cb': 'path_encoded_separator',
    '/a\\b': 'path_encoded_separator',
    '/a/../b': 'path_dot_segment',
    '/a/%2e%2e/b': 'path_dot_segment',
    '/a/.': 'path_dot_segment',
    '/a;x=y': 'path_parameter',
    '/a/..;x=y/b': 'path_parameter',
    '/a%3bx': 'path_parameter',
    '/a%': 'path_percent',
    '/a%2': 'path_percent',
    '/a%zz': 'path_percent',
    '/a%252e': 'path_percent',
    '/a%23b': 'path_percent',
    '/a%3fb': 'path_percent',
    '/a%ff': 'path_percent',
    '/a%c0%ae': 'path_percent',
    '/a%c3/b%a9': 'path_percent',
    '/a#b': 'path_character',
    '/a b': 'path_character',
    '/a\u0000': 'path_character',
    '/a%00': 'path_character',
    '/a%0d%0a': 'path_character',
    '/é': 'path_character',
    '//a': 'path_empty_segment',
    '/a//b': 'path_empty_segment',
    a: 'path_not_absolute',
    '': 'path_not_absolute',
    '*': 'path_not_absolute',
    'http://a/': 'path_not_absolute',
  };
  for (const [path, reason] of Object.entries(refused)) {
    assert.throws(
      () => canonicalTarget(path),
      (error) => error instanceof PathRejected && error.reason === reason,
      path,
    );
  }
});

test('a canonical path is its own canonical path, and every other input is a typed error', () => {
  const piece = fc.oneof(
    fc.constantFrom('/', '%', '%2', '%41', '%2f', '.', '..', ';', '\\', 'a', '~', '?', '#', 'é', '\u0000'),
    fc.string({ maxLength: 3 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      try {
        const { path } = canonicalTarget(`/${pieces.join('')}`);
        assert.equal(parseCanonicalPath(path), path);
        assert.doesNotMatch(path, /[;\\#?\s]|\/\.{1,2}(\/|$)|.\/\/|%2[fF]|%5[cC]/);
      } catch (error) {
        assert.ok(error instanceof PathRejected);
      }
    }),
    { numRuns: 2000 },
  );
});

test('patterns match whole segments', () => {
  const matches = (pattern: string, path: string) => matchesPath(parsePathPattern(pattern), parseCanonicalPath(path));
  assert.ok(matches('/v1/messages', '/v1/messages'));
  assert.ok(matches('/v1/*/x', '/v1/a/x'));
  assert.ok(matches('/v1/**', '/v1/a/b'));
  assert.ok(matches('/**', '/'));
  assert.ok(matches('/', '/'));
  for (const [pattern, path] of [
    ['/v1/messages', '/v1/messages/'],
    ['/v1/messages', '/v1/messagesx'],
    ['/v1/*', '/v1/'],
    ['/v1/*', '/v1/a/b'],
    ['/v1/**', '/v1'],
    ['/v1', '/v1/a'],
    ['/v1/*/x', '/v1/a/y'],
  ]) {
    assert.ok(!matches(pattern!, path!), `${pattern} ${path}`);
  }
  for (const pattern of ['v1', '/a*', '/**/a', '/a//b', '//**', '/a//**', '/a/../b', '/%41', '/a?b', ''])
    assert.throws(() => parsePathPattern(pattern), /no path pattern/);
});
