import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { OtlpCollector } from '#feeds/otlp-collector.ts';
import { otlpSettings } from '#feeds/otlp-settings.ts';
import type { FinishedSpan } from '#feeds/otlp-span.ts';
import { batchSpansMax, SpanExporter, waitingSpansMax } from '#feeds/span-exporter.ts';
import { loadConfig } from '#runtime/config.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { Metrics } from '#runtime/metrics.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { freePort } from '../support/free-port.ts';
import { type LogLines, logLines } from '../support/log-lines.ts';
import { type OtlpCollectorServer, startOtlpCollector } from '../support/otlp-collector.ts';

/** What `fraction` gives makes each pause the longest that may be drawn. */
const random = { bytes: (count: number) => Buffer.alloc(count), fraction: () => 1 };

let clock: FakeClock;
let log: LogLines;
let metrics: Metrics;
let server: OtlpCollectorServer;
let exporter: SpanExporter;

beforeEach(async () => {
  clock = new FakeClock();
  log = logLines();
  metrics = new Metrics();
  server = await startOtlpCollector();
  exporter = await exporterTo(server.url);
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await exporter[Symbol.asyncDispose]();
});

async function exporterTo(base: string): Promise<SpanExporter> {
  const { otlpEndpoint } = loadConfig(otlpSettings, { environment: {}, flags: { otlpEndpoint: base } });
  const collector = await OtlpCollector.open({ url: otlpEndpoint!, clock });
  const resource = { 'service.name': 'cart', 'service.namespace': 'shop' };
  return new SpanExporter({ collector, resource, clock, random, logger: log.logger, metrics });
}

function span(n: number, change: Partial<FinishedSpan> = {}): FinishedSpan {
  return {
    traceId: 'a'.repeat(32),
    spanId: (n + 1).toString(16).padStart(16, '0'),
    parentId: undefined,
    name: 'GET read',
    kind: 'server',
    startMs: 1_764_288_000_000.25,
    endMs: 1_764_288_000_001.75,
    attributes: { n },
    isError: false,
    ...change,
  };
}

function add(count: number, from = 0): void {
  for (let n = from; n < from + count; n++) exporter.add(span(n));
}

async function counts(): Promise<Record<string, number>> {
  const lines = (await metrics.render()).split('\n').filter((line) => line.startsWith('cellmesh_spans_'));
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, reason = '', value] = /^cellmesh_spans_(\w+?)(?:_total)?(?:\{reason="(\w+)"\})? (\d+)$/.exec(
        line,
      )!;
      return [reason === '' ? name! : reason, Number(value)];
    }),
  );
}

/** A failure is told once it is known how long to wait; the timer of the pause is there in the same turn. */
const failed = (times: number) => eventually(() => assert.equal(log.with('cannot be exported').length, times));
const requests = (count: number) => eventually(() => assert.equal(server.bodies.length, count));

describe('spans', () => {
  test('leave together, a second after the first, with who sends them', async () => {
    exporter.add(
      span(0, { parentId: 'b'.repeat(16), kind: 'client', isError: true, attributes: { path: '/é', n: 7 } }),
    );
    exporter.add(span(1));
    await clock.advance(999);
    assert.equal(server.bodies.length, 0);
    await clock.advance(1);
    await requests(1);
    await eventually(() => assert.equal(server.spans.length, 2));
    assert.deepEqual(server.spans[0], {
      traceId: 'a'.repeat(32),
      spanId: '0000000000000001',
      parentSpanId: 'b'.repeat(16),
      flags: 0x301,
      name: 'GET read',
      kind: 'client',
      start: 1_764_288_000_000_250_000n,
      end: 1_764_288_000_001_750_000n,
      isError: true,
      attributes: { path: '/é', n: 7 },
      resource: { 'service.name': 'cart', 'service.namespace': 'shop' },
    });
    const { parentSpanId, flags, isError, kind } = server.spans[1]!;
    assert.deepEqual(
      { parentSpanId, flags, isError, kind },
      {
        ...{ parentSpanId: undefined, flags: 0x101, isError: false, kind: 'server' },
      },
    );
    await eventually(async () => assert.equal((await counts())['exported'], 2));
  });

  test('leave at once when there are enough of them', async () => {
    add(batchSpansMax + 1);
    await eventually(() => assert.equal(server.spans.length, batchSpansMax));
    assert.equal((await counts())['waiting'], 1);
  });

  test('have values of bounded length', async () => {
    exporter.add(span(0, { attributes: { path: 'x'.repeat(5_000) } }));
    await clock.advance(1_000);
    await eventually(() => assert.equal(server.spans[0]?.attributes['path'], 'x'.repeat(1_024)));
  });

  test('are sent again after the time that the collector asks for', async () => {
    for (const value of ['7', new Date(clock.now() + 1_000 + 7_000).toUTCString()]) {
      const before = server.bodies.length;
      server.answer = () => ({ status: 429, headers: { 'retry-after': value } });
      add(1);
      await clock.advance(1_000);
      await eventually(() => assert.equal(server.bodies.length, before + 1));
      await eventually(() => assert.equal(log.all.at(-1)?.message, 'spans cannot be exported'));
      server.answer = () => ({ status: 200 });
      await clock.advance(6_999);
      assert.equal(server.bodies.length, before + 1);
      await clock.advance(1);
      await eventually(() => assert.equal(log.all.at(-1)?.message, 'spans are exported again'));
      assert.equal(server.bodies.length, before + 2);
      clock = new FakeClock();
      await exporter[Symbol.asyncDispose]();
      metrics = new Metrics();
      exporter = await exporterTo(server.url);
    }
  });

  test('are sent again after pauses that double up to half a minute', async () => {
    let answers = 0;
    // Each says something else: every failure is a line of the log.
    server.answer = () => ({ status: 503, body: `no ${answers++}` });
    add(1);
    await clock.advance(1_000);
    for (const [n, pauseMs] of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].entries()) {
      await failed(n + 1);
      assert.equal(server.bodies.length, n + 1);
      await clock.advance(pauseMs - 1);
      assert.equal(server.bodies.length, n + 1);
      await clock.advance(1);
    }
    server.answer = () => ({ status: 200 });
    await failed(8);
    await clock.advance(30_000);
    await eventually(() => assert.equal(server.spans.length, 1));
    assert.equal(new Set(server.bodies).size, 1);
  });

  test('that the collector refuses are dropped, counted, and not sent again', async () => {
    server.answer = () => ({ status: 400, body: 'what is this' });
    add(3);
    await clock.advance(1_000);
    await failed(1);
    assert.match(log.text(), /answers 400: what is this/);
    server.answer = () => ({ status: 200, body: '{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}' });
    add(5, 3);
    await clock.advance(1_000);
    await failed(2);
    assert.deepEqual(await counts(), { exported: 3, queue_full: 0, refused: 5, unsent: 0, waiting: 0 });
    assert.equal(server.bodies.length, 2);
  });

  test('wait within a bound for a collector that is not there; the oldest go', async () => {
    const port = await freePort();
    const absent = `http://127.0.0.1:${port}`;
    metrics = new Metrics();
    await exporter[Symbol.asyncDispose]();
    exporter = await exporterTo(absent);
    add(1);
    await clock.advance(1_000);
    await failed(1);
    add(waitingSpansMax + 1, 1);
    assert.deepEqual(await counts(), {
      ...{ exported: 0, queue_full: batchSpansMax, refused: 0, unsent: 0 },
      waiting: waitingSpansMax + 1 - batchSpansMax,
    });
    await using late = await startOtlpCollector(port);
    await eventually(async () => {
      await clock.advance(1_000);
      assert.equal(late.spans.length, 1 + waitingSpansMax + 1 - batchSpansMax);
    });
    const seen = late.spans.map(({ attributes }) => Number(attributes['n']));
    assert.deepEqual([seen[0], seen[1], seen.at(-1)], [0, 1 + batchSpansMax, waitingSpansMax + 1]);
    assert.equal(log.with('exported again').length, 1);
  });

  test('are sent again when a collector does not answer in ten seconds', async () => {
    server.answer = () => undefined;
    add(1);
    await clock.advance(1_000);
    await requests(1);
    await clock.advance(9_999);
    assert.equal(log.all.length, 0);
    await clock.advance(1);
    await failed(1);
    assert.match(log.text(), /no answer in 10000 ms/);
    server.answer = () => ({ status: 200 });
    await clock.advance(1_000);
    await eventually(() => assert.equal(server.spans.length, 1));
  });

  test('go out when the process stops, all that wait', async () => {
    add(waitingSpansMax);
    await exporter[Symbol.asyncDispose]();
    assert.equal(server.spans.length, waitingSpansMax);
    assert.equal(clock.pendingTimers, 0);
  });

  test('are given up in three seconds when it stops and nobody answers', async () => {
    server.answer = () => undefined;
    add(waitingSpansMax);
    await requests(1);
    const stopped = exporter[Symbol.asyncDispose]();
    await clock.advance(3_000);
    await stopped;
    assert.deepEqual(await counts(), { exported: 0, queue_full: 0, refused: 0, unsent: waitingSpansMax, waiting: 0 });
    assert.equal(server.bodies.length, 1);
    assert.equal(clock.pendingTimers, 0);
  });

  test('do not keep a process that stops in the midst of a pause', async () => {
    server.answer = () => ({ status: 503 });
    add(1);
    await clock.advance(1_000);
    await failed(1);
    server.answer = () => ({ status: 200 });
    await exporter[Symbol.asyncDispose]();
    assert.equal(server.spans.length, 1);
  });
});

describe('the endpoint', () => {
  const endpointOf = (otlpEndpoint: string, environment = {}) =>
    loadConfig(otlpSettings, { environment, flags: { otlpEndpoint } }).otlpEndpoint?.href;

  test('is a base URL', () => {
    assert.equal(endpointOf('http://collector:4318'), 'http://collector:4318/v1/traces');
    assert.equal(endpointOf('https://collector/otlp'), 'https://collector/otlp/v1/traces');
    assert.equal(endpointOf('https://collector/otlp/'), 'https://collector/otlp/v1/traces');
  });

  test("may stand in OpenTelemetry's own variable; ours wins", () => {
    const common = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://common:4318' };
    const read = (environment: Record<string, string>) =>
      loadConfig(otlpSettings, { environment, flags: {} }).otlpEndpoint?.host;
    assert.equal(read({}), undefined);
    assert.equal(read({ OTEL_EXPORTER_OTLP_ENDPOINT: '' }), undefined);
    assert.equal(read(common), 'common:4318');
    assert.equal(read({ ...common, CELLMESH_OTLP_ENDPOINT: 'http://ours:4318' }), 'ours:4318');
  });

  for (const url of [
    '',
    'collector:4318',
    'grpc://collector:4317',
    'http://user:secret@collector',
    'http://c/?key=1',
  ]) {
    test(`${JSON.stringify(url)} is refused, and not repeated`, () => {
      assert.throws(
        () => endpointOf(url),
        (error) =>
          isCellmeshError(error) && !error.message.includes('secret') && /--otlp-endpoint: must/.test(error.message),
      );
    });
  }
});
