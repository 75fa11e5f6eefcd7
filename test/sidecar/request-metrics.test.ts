import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { Metrics } from '#runtime/metrics.ts';
import { RequestMetrics } from '#sidecar/request-metrics.ts';

const api = 'spiffe://cell-1.example/ns/shop/sa/api';
let metrics: Metrics;
let requests: RequestMetrics;

describe('requests in the metrics', () => {
  beforeEach(() => {
    metrics = new Metrics();
    requests = new RequestMetrics(metrics);
  });

  test('are counted by direction, other service, route, reason and status', async () => {
    count({ direction: 'inbound', peer: api, rule: 'read', status: 200 });
    count({ direction: 'inbound', peer: api, rule: 'read', status: 200 });
    count({ direction: 'inbound', peer: api, rule: 'read', status: 500 });
    count({ direction: 'inbound', peer: api, reason: 'route_not_allowed', status: 403 });
    count({ direction: 'outbound', callee: 'shop/cart', route: '/items/*', status: 0, reason: 'upstream_failed' });
    assert.deepEqual((await linesOf('cellmesh_requests_total')).sort(), [
      '{direction="inbound",peer="shop/api",route="",reason="route_not_allowed",code="403"} 1',
      '{direction="inbound",peer="shop/api",route="read",reason="allowed",code="200"} 2',
      '{direction="inbound",peer="shop/api",route="read",reason="allowed",code="500"} 1',
      '{direction="outbound",peer="shop/cart",route="/items/*",reason="upstream_failed",code="none"} 1',
    ]);
  });

  test('are timed in seconds, in buckets that grow by the square root of two', async () => {
    for (const ms of [0, 0.1, 3.9, 4, 31_000, 60_000]) count({ direction: 'inbound', peer: api, rule: 'read' }, ms);
    const lines = await linesOf('cellmesh_request_duration_seconds_bucket');
    const atOrBelow = (le: string) => Number(lines.find((line) => line.includes(`le="${le}"`))?.split('} ')[1]);
    assert.equal(atOrBelow('0.000244141'), 2);
    assert.equal(atOrBelow('0.00276214'), 2);
    assert.equal(atOrBelow('0.00390625'), 3);
    assert.equal(atOrBelow('0.00552427'), 4);
    assert.equal(atOrBelow('32'), 5);
    assert.equal(atOrBelow('+Inf'), 6);
    const [sum] = await linesOf('cellmesh_request_duration_seconds_sum');
    assert.equal(sum, '{direction="inbound",peer="shop/api",route="read"} 91.008');
    const [total] = await linesOf('cellmesh_request_duration_seconds_count');
    assert.equal(total, '{direction="inbound",peer="shop/api",route="read"} 6');
  });

  test('of more peers and statuses than there is room for are counted together', async () => {
    for (let peer = 0; peer < 2_000; peer++) count({ direction: 'inbound', peer: `${api}-${peer}`, rule: 'read' });
    for (let status = 200; status < 600; status++) count({ direction: 'outbound', callee: 'shop/cart', status });
    const lines = await linesOf('cellmesh_requests_total');
    assert.ok(lines.length < 700, `${lines.length} series`);
    assert.ok(lines.includes('{direction="inbound",peer="other",route="other",reason="allowed",code="200"} 1500'));
    const counts = lines.map((line) => Number(line.split('} ')[1]));
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      2_400,
    );
  });
});

function count(record: Partial<DecisionRecord>, durationMs = 1): void {
  const common = { schema: 1, id: 'x', time: '', instance: 'x', outcome: 'permit', status: 200 } as const;
  requests.count({ ...common, direction: 'inbound', ...record }, durationMs);
}

async function linesOf(name: string): Promise<string[]> {
  const lines = (await metrics.render()).split('\n');
  return lines.filter((line) => line.startsWith(`${name}{`)).map((line) => line.slice(name.length));
}
