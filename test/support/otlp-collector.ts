import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly flags: number;
  readonly name: string;
  readonly kind: 'server' | 'client';
  /** Nanoseconds since the epoch. */
  readonly start: bigint;
  readonly end: bigint;
  readonly isError: boolean;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly resource: Readonly<Record<string, string | number>>;
}

interface CollectorAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface OtlpCollectorServer extends AsyncDisposable {
  /** Base URL, as exporters are set to. */
  readonly url: string;
  /** Spans of requests that were answered with success. */
  readonly spans: readonly ReceivedSpan[];
  /** Bodies as they came, whatever the answer was. */
  readonly bodies: readonly string[];
  /** What the next requests get; undefined: nothing at all. */
  answer: () => CollectorAnswer | undefined;
}

/**
 * Takes OTLP/HTTP traces in JSON, on Node's own server. It reads by the specification, not by what we write: a field that it does not know, or one of
 * another form, is answered with 400.
 */
export async function startOtlpCollector(port = 0): Promise<OtlpCollectorServer> {
  const spans: ReceivedSpan[] = [];
  const bodies: string[] = [];
  const collector = { answer: (): CollectorAnswer | undefined => ({ status: 200, body: '{}' }) };
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const body = Buffer.concat(await request.toArray()).toString();
    bodies.push(body);
    const answer = collector.answer();
    if (answer === undefined) return;
    try {
      assert.deepEqual([request.method, request.url], ['POST', '/v1/traces']);
      assert.equal(request.headers['content-type'], 'application/json');
      const read = readSpans(JSON.parse(body));
      if (answer.status === 200) spans.push(...read);
      response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(answer.body);
    } catch (error) {
      response.writeHead(400).end(String(error));
    }
  };
  const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const { port: bound } = server.address() as { port: number };
  return Object.assign(collector, {
    url: `http://127.0.0.1:${bound}`,
    spans,
    bodies,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}

type Json = Readonly<Record<string, unknown>>;

/** `ExportTraceServiceRequest`, and what a collector writes. @throws AssertionError where it is not as specified */
export function readSpans(request: Json): ReceivedSpan[] {
  return only(request, ['resourceSpans'])
    .list('resourceSpans')
    .flatMap((resourceSpans) => {
      const { json, list } = only(resourceSpans, ['resource', 'scopeSpans']);
      const resource = attributesOf(only(json['resource'] as Json, ['attributes']).list('attributes'));
      return list('scopeSpans').flatMap((scopeSpans) => {
        const scope = only(scopeSpans, ['scope', 'spans']);
        assert.ok(only(scope.json['scope'] as Json, ['name', 'version']).json['name']);
        return scope.list('spans').map((span) => readSpan(span, resource));
      });
    });
}

function readSpan(value: Json, resource: ReceivedSpan['resource']): ReceivedSpan {
  const names = ['traceId', 'spanId', 'parentSpanId', 'traceState', 'flags', 'name', 'kind', 'startTimeUnixNano'];
  const { json, list } = only(value, [...names, 'endTimeUnixNano', 'attributes', 'status']);
  const { traceId, spanId, parentSpanId, flags, name, kind, startTimeUnixNano, endTimeUnixNano, status = {} } = json;
  assert.match(String(traceId), /^(?!0{32})[0-9a-f]{32}$/);
  assert.match(String(spanId), /^(?!0{16})[0-9a-f]{16}$/);
  if (parentSpanId !== undefined) assert.match(String(parentSpanId), /^(?!0{16})[0-9a-f]{16}$/);
  assert.ok(typeof flags === 'number' && typeof name === 'string' && name !== '');
  assert.ok(kind === 2 || kind === 3, `kind ${kind}`);
  for (const time of [startTimeUnixNano, endTimeUnixNano]) {
    assert.ok(typeof time === 'string');
    assert.match(time, /^[1-9]\d{17,18}$/);
  }
  const { code = 0 } = only(status as Json, ['code', 'message']).json;
  assert.ok(code === 0 || code === 2, `status code ${code}`);
  return {
    ...{ traceId: String(traceId), spanId: String(spanId), parentSpanId: parentSpanId as string | undefined },
    ...{ flags, name, kind: kind === 2 ? 'server' : 'client' },
    start: BigInt(startTimeUnixNano as string),
    end: BigInt(endTimeUnixNano as string),
    isError: code === 2,
    attributes: attributesOf(list('attributes')),
    resource,
  };
}

function attributesOf(list: readonly Json[]): Record<string, string | number> {
  const entries = list.map((entry): [string, string | number] => {
    const { key, value } = only(entry, ['key', 'value']).json;
    const { stringValue, intValue } = only(value as Json, ['stringValue', 'intValue']).json;
    assert.ok(typeof key === 'string' && key !== '');
    if (typeof stringValue === 'string' && intValue === undefined) return [key, stringValue];
    assert.match(String(intValue), /^-?\d+$/);
    assert.equal(typeof intValue, 'string');
    return [key, Number(intValue)];
  });
  assert.equal(new Set(entries.map(([key]) => key)).size, entries.length, 'a key comes twice');
  return Object.fromEntries(entries);
}

/** An object without other keys than `names`. */
function only(json: Json, names: readonly string[]) {
  assert.deepEqual(
    Object.keys(json).filter((name) => !names.includes(name)),
    [],
  );
  const list = (name: string): readonly Json[] => {
    assert.ok(Array.isArray(json[name] ?? []), `${name} is no list`);
    return (json[name] ?? []) as Json[];
  };
  return { json, list };
}
