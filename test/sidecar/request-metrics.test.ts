import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metrics } from '#runtime/metrics.ts';
import { RequestMetrics } from '#sidecar/request-metrics.ts';

test('requests are counted by direction, reason and class of status, and timed in seconds', async () => {
  const metrics = new Metrics();
  const requests = new RequestMetrics(metrics);
  requests.count('inbound', 'allowed', 200, 1);
  requests.count('inbound', 'allowed', 204, 3);
  requests.count('outbound', 'not_declared', 403, 0.1);
  requests.count('inbound', 'allowed', 0, 0.1);
  const text = await metrics.render();
  assert.match(text, /cellmesh_requests_total\{direction="inbound",reason="allowed",status="2xx"\} 2/);
  assert.match(text, /cellmesh_requests_total\{direction="outbound",reason="not_declared",status="4xx"\} 1/);
  assert.match(text, /cellmesh_requests_total\{direction="inbound",reason="allowed",status="none"\} 1/);
  assert.match(text, /cellmesh_request_duration_seconds_count\{direction="inbound"\} 3/);
  assert.match(text, /cellmesh_request_duration_seconds_bucket\{le="0.001",direction="inbound"\} 2/);
});
