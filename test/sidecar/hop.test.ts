import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatLeft, leftBytesMax, leftOf } from '#sidecar/hop.ts';
import { Refused } from '#sidecar/refusal.ts';
import { parseScopeList } from '#tokens/scope.ts';

function left(...values: string[]) {
  return leftOf({ fieldById: () => values[0], countById: () => values.length });
}

describe('cellmesh-left', () => {
  test('what is written is read back', () => {
    for (const scopes of ['', 'a:b', 'a:b messages:read messages:write']) {
      assert.equal(left(formatLeft(parseScopeList(scopes)))?.text, scopes);
    }
  });

  test('its absence is told apart from nothing being left', () => {
    assert.equal(left(), undefined);
    assert.equal(left('1')?.size, 0);
  });

  const refused: Record<string, string[]> = {
    'no version': ['messages:read'],
    'a later version': ['2 messages:read'],
    'two spaces': ['1  messages:read'],
    'a space at its end': ['1 '.concat('a:b ')],
    'what is no scope': ['1 everything'],
    'a scope twice': ['1 a:b a:b'],
    'two fields': ['1 a:b', '1 a:b'],
    'more bytes than a token has': [`1 ${'a:b '.repeat(leftBytesMax / 4)}a:b`],
  };
  for (const [name, values] of Object.entries(refused)) {
    test(`${name} is refused`, () => {
      assert.throws(
        () => left(...values),
        (error) => error instanceof Refused && error.denial.reason === 'hop_malformed',
      );
    });
  }
});
