import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Client, credentials, Metadata, Server, ServerCredentials, type ServiceError, status } from '@grpc/grpc-js';
import { callHttp } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { type OtlpCollectorServer, type ReceivedSpan, startOtlpCollector } from '../support/otlp-collector.ts';
import { startPortMesh } from '../support/port-mesh.ts';
import { startCell } from '../support/start-cell.ts';
import { type Mesh, startMesh } from '../support/start-mesh.ts';

const rootSpan = '00f067aa0ba902b7';
const newTrace = () => randomBytes(16).toString('hex');
const sampled = (traceId: string) => ({ traceparent: `00-${traceId}-${rootSpan}-01` });
const unsampled = (traceId: string) => ({ traceparent: `00-${traceId}-${rootSpan}-00` });

let collector: OtlpCollectorServer;
let mesh: Mesh;

before(async () => {
  collector = await startOtlpCollector();
  mesh = await startMesh({ otlpEndpoint: collector.url });
});

after(async () => {
  await mesh?.[Symbol.asyncDispose]();
  await collector?.[Symbol.asyncDispose]();
});

/** All spans of a trace, from its root down; each has one child at most. */
async function chainOf(traceId: string, count: number, from = collector): Promise<ReceivedSpan[]> {
  const spans = await eventually(() => {
    const found = from.spans.filter((span) => span.traceId === traceId);
    assert.equal(found.length, count);
    return found;
  });
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const chain: ReceivedSpan[] = [];
  let next = spans.find(({ parentSpanId }) => parentSpanId === undefined || !ids.has(parentSpanId));
  for (; next !== undefined; next = spans.find(({ parentSpanId }) => parentSpanId === chain.at(-1)!.spanId)) {
    chain.push(next);
  }
  return chain;
}

const shortOf = ({ kind, name, resource }: ReceivedSpan) => `${resource['service.name']} ${kind} ${name}`;

describe("a customer's sampled call through three services", () => {
  test('is one chain of spans: SERVER in each sidecar that it reaches, CLIENT in each that it leaves', async () => {
    const traceId = newTrace();
    const token = await mesh.mint();
    const headers = { ...sampled(traceId), tracestate: 'rojo=1' };
    const { status } = await mesh.callAsRouter({ token, method: 'POST', body: 'hello', headers });
    assert.equal(status, 200);
    const chain = await chainOf(traceId, 5);
    assert.deepEqual(chain.map(shortOf), [
      'api server POST write',
      'api client POST',
      'messaging server POST write',
      'messaging client POST',
      'delivery server POST deliver',
    ]);
    assert.equal(chain[0]?.parentSpanId, rootSpan);
    assert.equal(new Set(chain.map(({ spanId }) => spanId)).size, 5);
    for (const [n, span] of chain.entries()) {
      assert.equal(span.isError, false);
      assert.equal(span.flags, 0x301);
      assert.ok(span.start <= span.end);
      const parent = chain[n - 1];
      // Clocks of one machine: a millisecond is what they may differ by.
      const slack = 1_000_000n;
      if (parent !== undefined) assert.ok(parent.start <= span.start + slack && span.end <= parent.end + slack);
    }
  });

  test('passes the application the id of the span it is in, and what others wrote into tracestate', async () => {
    const traceId = newTrace();
    const headers = { ...sampled(traceId), tracestate: 'rojo=1' };
    await mesh.callAsRouter({ token: await mesh.mint(), headers });
    const [api, , messaging] = await chainOf(traceId, 3);
    for (const [name, span] of [
      ['api', api],
      ['messaging', messaging],
    ] as const) {
      const received = mesh.services[name].application.received.at(-1);
      assert.equal(received?.headers['traceparent'], `00-${traceId}-${span?.spanId}-01`);
      assert.match(String(received?.headers['tracestate']), /^cellmesh=[^,]+,rojo=1$/);
    }
  });

  test('is described by its decisions, without query, token or account', async () => {
    const traceId = newTrace();
    const token = await mesh.mint();
    const path = '/v1/messages?key=secret';
    await mesh.callAsRouter({ token, path, headers: sampled(traceId) });
    const [, client, server] = await chainOf(traceId, 3);
    const { api, messaging } = mesh.services;
    const recordOf = (records: typeof api.records, direction: string) =>
      records.find((record) => record.traceId === traceId && record.direction === direction);
    const common = { 'http.request.method': 'GET', 'http.response.status_code': 200, 'url.scheme': 'https' };
    const shared = {
      ...{ ...common, 'url.path': '/v1/messages', 'cellmesh.decision.outcome': 'permit' },
      ...{ 'server.address': 'messaging', 'server.port': messaging.application.port },
    };
    const sent = recordOf(api.records, 'outbound');
    assert.deepEqual(client?.attributes, {
      ...shared,
      'url.full': `https://messaging:${messaging.application.port}/v1/messages`,
      'cellmesh.decision.id': sent?.id,
      'cellmesh.peer.id': messaging.id,
      'cellmesh.policy.version': sent?.policyVersion,
    });
    const received = recordOf(messaging.records, 'inbound');
    assert.deepEqual(server?.attributes, {
      ...shared,
      'cellmesh.decision.id': received?.id,
      'cellmesh.peer.id': api.id,
      'cellmesh.rule': 'read',
      'cellmesh.policy.version': received?.policyVersion,
    });
    const bodies = collector.bodies.join();
    for (const secret of ['secret', token, received!.account!, 'cellmesh-token']) assert.ok(!bodies.includes(secret));
  });

  test('that is denied says why; that is the caller’s fault, not the server’s', async () => {
    const traceId = newTrace();
    const token = await mesh.mint();
    const headers = sampled(traceId);
    const { status } = await mesh.callAsRouter({ token, path: '/v1/nothing', headers });
    assert.equal(status, 403);
    const [api, client, messaging] = await chainOf(traceId, 3);
    assert.deepEqual(
      [api, client, messaging].map((span) => [span?.isError, span?.attributes['error.type']]),
      [
        [false, undefined],
        [true, '403'],
        [false, undefined],
      ],
    );
    const denied = mesh.services.messaging.records.find((record) => record.traceId === traceId);
    assert.deepEqual(
      [
        messaging?.name,
        messaging?.attributes['cellmesh.decision.reason'],
        messaging?.attributes['cellmesh.decision.outcome'],
      ],
      ['GET', denied?.reason, 'deny'],
    );
  });
});

describe('a trace', () => {
  test('that is not sampled goes on as it came, and makes no span', async () => {
    const traceId = newTrace();
    const marker = newTrace();
    await mesh.callAsRouter({ token: await mesh.mint(), headers: unsampled(traceId) });
    assert.equal(mesh.services.api.application.received.at(-1)?.headers['traceparent'], unsampled(traceId).traceparent);
    await mesh.callAsRouter({ token: await mesh.mint(), headers: sampled(marker) });
    await chainOf(marker, 3);
    assert.deepEqual(
      collector.spans.filter((span) => span.traceId === traceId),
      [],
    );
  });

  test('of a later version is continued as version 00, with the flags that are known', async () => {
    const traceId = newTrace();
    const headers = { traceparent: `01-${traceId}-${rootSpan}-f3-what-the-future-brings` };
    await mesh.callAsRouter({ token: await mesh.mint(), path: '/v1/local', headers });
    const [span] = await chainOf(traceId, 1);
    assert.equal(span?.parentSpanId, rootSpan);
    const passed = mesh.services.api.application.received.at(-1)?.headers['traceparent'];
    assert.equal(passed, `00-${traceId}-${span?.spanId}-03`);
  });

  test('goes on as it came, sampled or not, where there is no collector', async () => {
    await using plain = await startMesh();
    for (const headers of [sampled(newTrace()), unsampled(newTrace())]) {
      await plain.callAsRouter({ token: await plain.mint(), headers });
      const passed = plain.services.messaging.application.received.at(-1)?.headers['traceparent'];
      assert.equal(passed, headers.traceparent);
    }
  });
});

describe('a request', () => {
  test('is served as ever by sidecars whose collector is overrun, says nothing, or is gone', async () => {
    await using stuck = await startOtlpCollector();
    await using stuckMesh = await startMesh({ otlpEndpoint: stuck.url });
    const callAll = async () => {
      const token = await stuckMesh.mint();
      const calls = Array.from({ length: 20 }, () => stuckMesh.callAsRouter({ token, headers: sampled(newTrace()) }));
      for (const { status } of await Promise.all(calls)) assert.equal(status, 200);
    };
    stuck.answer = () => ({ status: 429, headers: { 'retry-after': '0' } });
    await callAll();
    await eventually(() => assert.ok(stuck.bodies.length >= 4));
    stuck.answer = () => undefined;
    const before = stuck.bodies.length;
    await callAll();
    await eventually(() => assert.ok(stuck.bodies.length >= before + 2));
    await callAll();
    await stuck[Symbol.asyncDispose]();
    await callAll();
  });

  test('that fails behind the sidecar is an error of its CLIENT span', async () => {
    const traceId = newTrace();
    const endpoints = mesh.endpoints.current;
    mesh.endpoints.set(new Map());
    try {
      const { status } = await mesh.services.api.call({
        authority: 'messaging',
        path: '/v1/expire',
        method: 'POST',
        headers: { ...sampled(traceId), 'cellmesh-as': 'self' },
      });
      assert.equal(status, 503);
    } finally {
      mesh.endpoints.set(endpoints);
    }
    const [span] = await chainOf(traceId, 1);
    assert.deepEqual(
      [span?.kind, span?.isError, span?.attributes['error.type'], span?.attributes['http.response.status_code']],
      ['client', true, 'upstream_unreachable', 503],
    );
  });
});

describe('a gRPC call', () => {
  test('has a span of the conventions for RPC, with the code of its trailers', async () => {
    const bytes = (value: Buffer) => value;
    const path = '/test.Echo/Unary';
    const codecs = { requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes };
    const server = new Server();
    const method = { path, requestStream: false, responseStream: false, ...codecs, responseDeserialize: bytes };
    server.addService(
      { unary: method },
      {
        unary({ request }: { request: Buffer }, done: (error: Partial<ServiceError> | null, value?: Buffer) => void) {
          if (request.toString() === 'ok') done(null, request);
          else done({ code: status.NOT_FOUND, details: 'no such thing' });
        },
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    const rule = `{ name: echo, from: [messaging/api], account: none, http: { methods: [POST], paths: [${path}] } }`;
    await using started = await startPortMesh(port, [rule], 'grpc', { otlpEndpoint: collector.url });
    const client = new Client(`127.0.0.1:${started.listenPort}`, credentials.createInsecure());
    const call = (text: string, calledPath = path) => {
      const traceId = newTrace();
      const metadata = new Metadata();
      metadata.set('cellmesh-as', 'self');
      metadata.set('traceparent', sampled(traceId).traceparent);
      return new Promise<string>((resolve) => {
        client.makeUnaryRequest(calledPath, bytes, bytes, Buffer.from(text), metadata, () => resolve(traceId));
      });
    };
    const seen = async (traceId: string) =>
      (await chainOf(traceId, 2)).map(({ kind, name, isError, attributes }) => [
        ...[kind, name, isError, attributes['rpc.system.name'], attributes['rpc.method']],
        ...[attributes['rpc.response.status_code'], attributes['error.type'], attributes['http.request.method']],
      ]);
    const known = ['grpc', 'test.Echo/Unary'];
    assert.deepEqual(await seen(await call('ok')), [
      ['client', 'test.Echo/Unary', false, ...known, 'OK', undefined, undefined],
      ['server', 'test.Echo/Unary', false, ...known, 'OK', undefined, undefined],
    ]);
    assert.deepEqual(await seen(await call('fail')), [
      ['client', 'test.Echo/Unary', true, ...known, 'NOT_FOUND', 'NOT_FOUND', undefined],
      ['server', 'test.Echo/Unary', false, ...known, 'NOT_FOUND', undefined, undefined],
    ]);
    assert.deepEqual(await seen(await call('denied', '/test.Echo/Other')), [
      [
        'client',
        'test.Echo/Other',
        true,
        'grpc',
        'test.Echo/Other',
        'PERMISSION_DENIED',
        'PERMISSION_DENIED',
        undefined,
      ],
      ['server', 'POST', false, 'grpc', 'test.Echo/Other', 'PERMISSION_DENIED', undefined, undefined],
    ]);
    client.close();
    server.forceShutdown();
  });
});

describe('a sidecar', () => {
  test('samples new traces as it is set, begins them, and sends what it has when it stops', async () => {
    const flags = { otlpEndpoint: collector.url, tracingRatio: '1' };
    await using cell = await startCell({ sidecarFlags: flags });
    await cell.whenReady();
    const { status } = await cell.callAsRouter({ token: await cell.mint(), path: '/v1/local' });
    assert.equal(status, 200);
    const { traceparent } = cell.services.api.application.received.at(-1)!.headers;
    const [, traceId = '', spanId] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/.exec(String(traceparent)) ?? [];
    const { instance, ports } = cell.services.api.sidecar;
    const { body } = await callHttp({ port: ports.health!, path: '/metrics' });
    assert.match(body, /^cellmesh_spans_dropped_total\{reason="queue_full"\} 0$/m);
    await cell.services.api.stopSidecar();
    const [span, ...others] = collector.spans.filter((found) => found.traceId === traceId);
    assert.deepEqual(others, []);
    assert.deepEqual([span?.spanId, span?.parentSpanId, span?.flags], [spanId, undefined, 0x101]);
    assert.deepEqual(span?.resource, {
      'service.name': 'api',
      'service.namespace': 'messaging',
      'service.instance.id': instance,
      'cellmesh.cell.id': 'cell-1',
    });
  });
});
