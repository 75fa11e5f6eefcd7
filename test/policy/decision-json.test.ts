import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type CanonicalPath, PathRejected, parseCanonicalPath } from '#policy/canonical-path.ts';
import { DecisionJson } from '#policy/decision-json.ts';
import { OpenRecord, type TraceId } from '#policy/open-record.ts';

/** Of few values, so that records share parts; some with characters that JSON escapes, or that are no characters. */
const someText = fc.constantFrom(
  ...[
    '',
    'a',
    '/v1/messages',
    'a:read a:write',
    '"',
    '\\',
    '\n',
    '\u0000',
    '\u007f',
    '\u2028',
    'é',
    '漢字',
    '😀',
    '\ud800',
    '\udc00x',
  ],
);
const text = fc.oneof({ weight: 3, arbitrary: someText }, fc.string({ unit: 'binary' }), fc.string());
const path = fc.constantFrom('/', '/v1/messages', "/a/%C3%A9/~$&'()*+,=:@.-_!/").map(parseCanonicalPath);
const traceId = fc.constantFrom('4bf92f3577b34da6a3ce929d0e0e4736' as TraceId, 'f'.repeat(32) as TraceId);
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const number = fc.oneof(
  fc.nat().map((count) => count / 1000),
  fc.constantFrom(0, -0, 0.001, 0.5, 0.29, 1e12, 1e21, 1e-7, Number.NaN, Number.POSITIVE_INFINITY, -1.5),
  fc.double(),
);
const someClaims = [
  { kind: 'cell', scope: '"' },
  { kind: '漢', values: { '/a"b': [1, null, { c: 'é' }] } },
  {},
] as const;

const stamp = fc.record({ id: text, time: fc.constantFrom('2026-11-29T00:00:00.000Z', '2026-11-29T00:00:00.001Z') });
const members = fc.record(
  {
    outcome: fc.constantFrom('permit', 'deny'),
    isAudited: maybe(fc.boolean()),
    reason: maybe(fc.constantFrom('scope_missing', 'token_expired')),
    status: fc.constantFrom(0, 200, 201, 403),
    ...{
      peer: maybe(text),
      address: maybe(text),
      service: maybe(text),
      policyVersion: maybe(text),
      callee: maybe(text),
    },
    port: maybe(fc.constantFrom(80, 8080)),
    ...{ rule: maybe(text), route: maybe(text), left: maybe(text), granted: maybe(text), account: maybe(text) },
    claims: maybe(fc.constantFrom(...someClaims)),
    ...{ method: maybe(text), path: maybe(path), traceId: maybe(traceId), degraded: maybe(text) },
    failed: maybe(fc.record({ condition: text, expected: text, actual: text })),
    candidate: maybe(fc.record({ version: text, isInForce: fc.boolean() })),
    durationMs: number,
  },
  { requiredKeys: [] },
);
const records = fc.array(
  fc
    .tuple(stamp, fc.constantFrom('inbound', 'outbound', 'edge'), text, members)
    .map(([{ id, time }, direction, instance, found]) =>
      Object.assign(
        new OpenRecord({ id: `${instance}.${id.replace(/[^a-z0-9]/g, '')}`, time }, direction, instance),
        found,
      ),
    ),
  { maxLength: 8 },
);

describe('the text of a record', () => {
  test('is what JSON.stringify says, whatever is in it and in those before it', () => {
    const lasting = new DecisionJson();
    fc.assert(
      fc.property(records, (all) => {
        for (const json of [lasting, new DecisionJson()])
          for (const record of [...all, ...all.toReversed()]) assert.equal(json.of(record), JSON.stringify(record));
      }),
      { numRuns: 3_000 },
    );
  });

  test('has nothing of a record before it that differs in one member', () => {
    const stamp = { id: 'a.1', time: '2026-11-29T00:00:00.000Z' };
    const usual = () => {
      const found = { peer: 'p', service: 's', port: 80, rule: 'r', left: 'a:b', granted: 'a:b', account: 'AC1' };
      const asked = { claims: someClaims[0], method: 'GET', path: '/a', policyVersion: '1', status: 200 };
      return Object.assign(new OpenRecord(stamp, 'inbound', 'a'), found, asked) as unknown as Record<string, unknown>;
    };
    const others: Readonly<Record<string, unknown>> = {
      ...{ direction: 'outbound', instance: 'b', outcome: 'permit', isAudited: true, reason: 'x', status: 403 },
      ...{ peer: 'q', address: '::1', service: 't', policyVersion: '2', callee: 'c', port: 81, rule: 'o', route: 'o' },
      ...{ left: 'c:d', granted: 'c:d', account: 'AC2', claims: someClaims[1], method: 'PUT', path: '/b' },
    };
    for (const [name, other] of Object.entries(others)) {
      for (const value of [other, undefined]) {
        const json = new DecisionJson();
        // Twice each: what two in a row share is remembered as a whole.
        for (const isOther of [false, false, true, true, false, true]) {
          const record = { ...usual(), ...(isOther && { [name]: value }) } as unknown as OpenRecord;
          if (isOther && value === undefined && ['direction', 'instance', 'outcome', 'status'].includes(name)) continue;
          assert.equal(json.of(record), JSON.stringify(record), name);
        }
      }
    }
  });

  test('can take a canonical path as it is', () => {
    const almost = fc.string({ unit: fc.constantFrom(...'/ab.%"\\;5cC2e7F\n\u007fé') }).map((rest) => `/${rest}`);
    const canonicalOf = (text: string): CanonicalPath | undefined => {
      try {
        return parseCanonicalPath(text);
      } catch (error) {
        assert.ok(error instanceof PathRejected);
        return undefined;
      }
    };
    fc.assert(
      fc.property(fc.oneof(almost, text), (text) => {
        const path = canonicalOf(text);
        if (path !== undefined) assert.equal(JSON.stringify(path), `"${path}"`);
      }),
      { numRuns: 5_000 },
    );
  });

  test('is right of more peers and rules than are remembered', () => {
    const json = new DecisionJson();
    for (let n = 0; n < 3_000; n++) {
      const record = new OpenRecord({ id: `a.${n}`, time: '2026-11-29T00:00:00.000Z' }, 'inbound', 'a');
      Object.assign(record, { peer: `peer-${n % 1_300}`, rule: `rule-${n % 1_100}`, granted: `a:read${n % 7}` });
      assert.equal(json.of(record), JSON.stringify(record));
    }
  });

  test('has a duration in thousandths as JSON writes it', () => {
    const json = new DecisionJson();
    for (let count = 0; count < 20_000; count++) {
      const record = new OpenRecord({ id: 'a.1', time: '2026-11-29T00:00:00.000Z' }, 'inbound', 'a');
      record.durationMs = count / 1000;
      assert.equal(json.of(record), JSON.stringify(record));
    }
  });
});
