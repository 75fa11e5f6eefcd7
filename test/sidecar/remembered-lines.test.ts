import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { Secret } from '#runtime/secret.ts';
import type { ActivePolicy } from '#sidecar/active-policy.ts';
import { CarriedToken } from '#sidecar/carried-token.ts';
import { portOf } from '#sidecar/service-port.ts';
import { ToldToApplication } from '#sidecar/told-to-application.ts';
import { parseScopeList } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import type { RequestHead } from '#wire/message.ts';

/** Two facts of a token, which are all that is written of it. */
const tokenOf = (text: string, account: string) => ({ text: new Secret(text), account }) as unknown as VerifiedToken;
const [one, two] = [tokenOf('token-1', 'AC1'), tokenOf('token-2', 'AC2')];
const [much, little] = [parseScopeList('a:b c:d'), parseScopeList('a:b')];
/** One after the other, and each after itself. */
const turns = [0, 0, 1, 1, 0, 1, 0];

describe('lines that are remembered from the request before', () => {
  test('carry the token of this request, and what is left of it', () => {
    const carried = new CarriedToken();
    const cases = [one, two].flatMap((token) => [much, little].map((left) => ({ token, left })));
    for (const a of cases) {
      for (const b of cases) {
        for (const turn of turns) {
          const { token, left } = [a, b][turn]!;
          const expected = `cellmesh-token: ${token.text.reveal()}\r\ncellmesh-left: 1 ${left.text}\r\n`;
          assert.equal(carried.lines(token, left), expected);
        }
      }
    }
  });

  test('tell the application of the caller, scopes and handle of this request', () => {
    const told = new ToldToApplication();
    const usual = { token: one, caller: 'spiffe://a/ns/b/sa/c' as SpiffeId, granted: much, handle: '1' };
    const others = [
      { ...usual, token: two },
      { ...usual, caller: 'spiffe://a/ns/b/sa/d' as SpiffeId },
      { ...usual, granted: little },
      { ...usual, handle: '2' },
    ];
    for (const other of others) {
      for (const turn of turns) {
        const asked = [usual, other][turn]!;
        assert.equal(told.lines(asked), new ToldToApplication().lines(asked));
      }
    }
    assert.equal(new Set([usual, ...others].map((asked) => told.lines(asked))).size, 5);
  });
});

test('a port is the one of the policy in force, and of the host that was asked for', () => {
  const policyOf = (...ports: number[]) =>
    ({ snapshot: { service: { hosts: ['a'], ports: ports.map((port) => ({ port })) } } }) as unknown as ActivePolicy;
  const [before, after] = [policyOf(80, 81), policyOf(90)];
  const ask = (policy: ActivePolicy, authority: string) => portOf(policy, { authority } as RequestHead).port;
  for (let i = 0; i < 2; i++) {
    assert.equal(ask(before, 'a'), 80);
    assert.equal(ask(before, 'a:81'), 81);
    assert.equal(ask(before, 'a'), 80);
    assert.equal(ask(after, 'a'), 90);
    assert.throws(() => ask(after, 'a:81'));
    assert.throws(() => ask(after, 'b'));
    assert.equal(ask(after, 'a'), 90);
  }
});
