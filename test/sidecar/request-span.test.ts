import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { FinishedSpan } from '#feeds/otlp-span.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import type { Clock } from '#runtime/clock.ts';
import { type RequestSpan, RequestSpans, type SpanOutcome } from '#sidecar/request-span.ts';
import { WireError } from '#wire/wire-error.ts';
import { FakeClock } from '../support/fake-clock.ts';

const gone = new WireError('exchange_aborted', 'the client went away');

interface Case {
  readonly record?: Partial<DecisionRecord>;
  readonly span?: Partial<RequestSpan>;
  readonly outcome?: Partial<SpanOutcome>;
}

function maker(clock: Pick<Clock, 'now' | 'monotonic'>): (given: Case) => FinishedSpan {
  const finished: FinishedSpan[] = [];
  const spans = new RequestSpans({ add: (one) => finished.push(one) }, clock);
  const common = { schema: 1, id: 'api-1.x', time: '', instance: 'api-1', outcome: 'permit', status: 200 } as const;
  const known = { traceId: 'a'.repeat(32), id: 'b'.repeat(16), parentId: undefined, isGrpc: false } as const;
  return ({ record, span, outcome }) => {
    spans.end(
      { ...known, authority: 'cart:8080', peer: undefined, grpcStatus: undefined, ...span },
      { ...common, direction: 'inbound', method: 'GET', path: '/items/7', ...record },
      { status: 200, durationMs: 1, error: undefined, ...outcome },
    );
    return finished.at(-1)!;
  };
}

const spanOf = maker(new FakeClock());

describe('the span of a request', () => {
  const outbound = { direction: 'outbound' } as const;
  const denied = { outcome: 'deny', reason: 'scope_missing', status: 403 } as const;
  const audited = { isAudited: true, reason: 'scope_missing' } as const;
  const failed = { reason: 'upstream_timeout', status: 504 } as const;
  const grpc = { isGrpc: true };
  const cases: readonly (readonly [string, Case, string | undefined])[] = [
    ['that is answered', {}, undefined],
    ['that the application answers with 404, received', { record: { status: 404 } }, undefined],
    ['that the application answers with 404, sent', { record: { ...outbound, status: 404 } }, '404'],
    ['that the application answers with 500', { record: { status: 500 } }, '500'],
    ['that is denied, received', { record: denied }, undefined],
    ['that is denied, sent', { record: { ...outbound, ...denied } }, 'scope_missing'],
    ['that enforcing would have denied, and that fails', { record: { ...audited, status: 500 } }, '500'],
    ['that enforcing would have denied', { record: audited }, undefined],
    ['that its upstream does not answer', { record: failed }, 'upstream_timeout'],
    ['that its client gives up', { record: { status: 0 }, outcome: { error: gone } }, 'exchange_aborted'],
    ['of gRPC that ends with OK', { span: { ...grpc, grpcStatus: 0 } }, undefined],
    ['of gRPC that ends with NOT_FOUND, received', { span: { ...grpc, grpcStatus: 5 } }, undefined],
    ['of gRPC that ends with NOT_FOUND, sent', { span: { ...grpc, grpcStatus: 5 }, record: outbound }, 'NOT_FOUND'],
    ['of gRPC that ends with INTERNAL', { span: { ...grpc, grpcStatus: 13 } }, 'INTERNAL'],
    ['of gRPC with a code that nobody knows, sent', { span: { ...grpc, grpcStatus: 99 }, record: outbound }, '99'],
    ['of gRPC that we answer ourselves', { span: grpc, record: { ...failed, status: 200 } }, 'upstream_timeout'],
  ];
  for (const [what, given, expected] of cases) {
    test(`${what} is ${expected === undefined ? 'no error' : `an error: ${expected}`}`, () => {
      const { isError, attributes } = spanOf(given);
      assert.deepEqual([isError, attributes['error.type']], [expected !== undefined, expected]);
    });
  }

  test('says the code that our own answer to gRPC has', () => {
    const { attributes } = spanOf({ span: grpc, record: { ...failed, status: 200 } });
    assert.equal(attributes['rpc.response.status_code'], 'DEADLINE_EXCEEDED');
  });

  test('has a name of few values, whatever the client sends', () => {
    const nameOf = (record: Partial<DecisionRecord>, span = {}) => spanOf({ record, span }).name;
    assert.equal(nameOf({ rule: 'read' }), 'GET read');
    assert.equal(nameOf({ direction: 'outbound', route: '/items/*' }), 'GET /items/*');
    assert.equal(nameOf(denied), 'GET');
    assert.equal(nameOf({ method: 'BREW', rule: 'any' }), 'HTTP any');
    assert.equal(nameOf({ path: '/shop.Cart/Add' }, grpc), 'shop.Cart/Add');
    assert.equal(nameOf({ ...denied, path: '/x.Made/Up', method: 'POST' }, grpc), 'POST');
    const { attributes } = spanOf({ record: { method: 'BREW' } });
    assert.deepEqual(
      [attributes['http.request.method'], attributes['http.request.method_original']],
      ['_OTHER', 'BREW'],
    );
  });

  test('ends now and began as long ago as it took, also after the clock was set', () => {
    const fake = new FakeClock(Date.UTC(2026, 10, 28));
    let setMs = 0;
    const make = maker({ now: () => fake.now() + setMs, monotonic: () => 5.25 });
    const timesOf = ({ startMs, endMs }: FinishedSpan) => [startMs, endMs];
    const outcome = { durationMs: 2.5 };
    assert.deepEqual(timesOf(make({ outcome })), [fake.now() - 2.5, fake.now()]);
    setMs = 3600_000;
    assert.deepEqual(timesOf(make({ outcome })), [fake.now() + setMs - 2.5, fake.now() + setMs]);
  });
});
