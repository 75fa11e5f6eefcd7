import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { type ReceivedSpan, readSpans } from '../support/otlp-collector.ts';
import { reachable } from '../support/reachable.ts';
import { type Mesh, startMesh } from '../support/start-mesh.ts';
import { ownGoProgram } from './parts.ts';

/** The receiver of the OpenTelemetry Collector takes what sidecars send; it answers 400 to what it cannot read. */
const receiver = await ownGoProgram(join(import.meta.dirname, 'support/otlp-receiver'));

describe("spans at the OpenTelemetry Collector's receiver", 'skip' in receiver ? receiver : {}, () => {
  const spans: ReceivedSpan[] = [];
  let running: ChildProcess;
  let mesh: Mesh;

  before(async () => {
    assert.ok('path' in receiver);
    const port = await freePort();
    running = spawn(receiver.path, [`127.0.0.1:${port}`], { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: running.stdout! }).on('line', (line) => spans.push(...readSpans(JSON.parse(line))));
    await eventually(() => reachable(port));
    mesh = await startMesh({ otlpEndpoint: `http://127.0.0.1:${port}` });
  });

  after(async () => {
    await mesh?.[Symbol.asyncDispose]();
    running?.kill();
    if (running?.exitCode === null) await once(running, 'exit');
  });

  test('are all there, in one tree across three sidecars, and none is refused', async () => {
    const traceId = randomBytes(16).toString('hex');
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
    const sentAt = BigInt(Math.floor(performance.timeOrigin + performance.now())) * 1_000_000n;
    const { status } = await mesh.callAsRouter({ token: await mesh.mint(), method: 'POST', body: 'hello', headers });
    assert.equal(status, 200);
    await eventually(() => assert.equal(spans.length, 5));
    const chain: ReceivedSpan[] = [];
    for (let parent = '00f067aa0ba902b7'; chain.length < 5; parent = chain.at(-1)!.spanId) {
      const [child, ...others] = spans.filter(({ parentSpanId }) => parentSpanId === parent);
      assert.ok(child !== undefined && others.length === 0, `${parent} has ${1 + others.length} children`);
      chain.push(child);
    }
    assert.deepEqual(
      chain.map(({ kind, resource, attributes }) => [kind, resource['service.name'], attributes['url.path']]),
      [
        ['server', 'api', '/v1/messages'],
        ['client', 'api', '/v1/messages'],
        ['server', 'messaging', '/v1/messages'],
        ['client', 'messaging', '/v1/deliveries'],
        ['server', 'delivery', '/v1/deliveries'],
      ],
    );
    for (const span of chain) {
      assert.equal(span.traceId, traceId);
      assert.equal(span.attributes['http.response.status_code'], 200);
      assert.ok(span.start <= span.end && span.start >= sentAt - 1_000_000_000n && span.end < sentAt + 60_000_000_000n);
    }
    for (const { metrics } of Object.values(mesh.services)) {
      await eventually(async () => {
        const text = await metrics.render();
        assert.match(text, /^cellmesh_spans_exported_total [1-9]/m);
        assert.match(text, /^cellmesh_spans_dropped_total\{reason="refused"\} 0$/m);
      });
    }
  });
});
