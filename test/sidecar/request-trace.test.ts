import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemRandom } from '#runtime/random.ts';
import { readTrace } from '#sidecar/request-trace.ts';
import { readRequestHead } from '#wire/http1/request-head.ts';
import { scanBytes } from '#wire/http1/scan-head.ts';
import { defaultHttpLimits } from '#wire/limits.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parent = `traceparent: 00-${traceId}-00f067aa0ba902b7-01\r\n`;
const options = { random: systemRandom, tracingRatio: 0, makesSpans: false };

function traceOf(fields: string) {
  const text = `GET / HTTP/1.1\r\nhost: a\r\n${fields}\r\n`;
  return readTrace(readRequestHead(scanBytes.write(text, 'latin1'), defaultHttpLimits)!, options);
}

test('a trace that comes with a request goes on, with the members of others in all fields of theirs', () => {
  const { parent: goesOn, others, handle } = traceOf(`${parent}tracestate: a=1, cellmesh=h\r\ntracestate: b=2\r\n`);
  assert.equal(goesOn.traceId, traceId);
  assert.deepEqual([others.map(({ key, value }) => key + value), handle], [['a1', 'b2'], 'h']);
});

test('one that comes twice is not used, and neither are the members of others', () => {
  const { parent: made, others, handle } = traceOf(`${parent}${parent}tracestate: a=1,cellmesh=h\r\n`);
  assert.notEqual(made.traceId, traceId);
  assert.deepEqual([others, handle], [[], 'h']);
});

test('a request without one begins a trace', () => assert.match(traceOf('').parent.traceId, /^[0-9a-f]{32}$/));
