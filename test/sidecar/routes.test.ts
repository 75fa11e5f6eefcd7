import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import type { SnapshotCall } from '#policy/snapshot.ts';
import { Routes, routeTo, splitAuthority } from '#sidecar/routes.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');

function call(name: string, ports: SnapshotCall['ports']): SnapshotCall {
  const hosts = [name, `${name}.messaging`];
  const id = workloadId(trustDomain, 'messaging', name);
  return { id, name: `messaging/${name}`, hosts, ports, own: [], token: 'propagate', sensitive: [] };
}

const delivery = call('delivery', [
  { port: 9000, protocol: 'tcp' },
  { port: 8080, protocol: 'http' },
  { port: 8081, protocol: 'http' },
]);
const routes = new Routes([delivery, call('store', [{ port: 9000, protocol: 'tcp' }])]);

describe('routes', () => {
  const found: Record<string, number> = {
    delivery: 8080,
    'delivery:8081': 8081,
    'delivery.messaging': 8080,
    'delivery.messaging.:8080': 8080,
    'DELIVERY.Messaging': 8080,
    'delivery:9000': 9000,
  };
  for (const [authority, port] of Object.entries(found)) {
    test(`${authority} is the callee's port ${port}`, () => {
      assert.deepEqual(routes.find(authority), { tag: 'found', route: { call: delivery, port } });
    });
  }

  test('a port that the callee does not declare is none', () => {
    assert.equal(routes.find('delivery:80').tag, 'port-unknown');
    assert.equal(routes.find('store').tag, 'port-unknown');
  });

  test('a host that no declared callee has is not declared', () => {
    for (const authority of ['example.com', 'delivery.other', '', '..', '[::1]:8080', '127.0.0.1:8080', '__proto__']) {
      assert.deepEqual(routes.find(authority), { tag: 'not-declared' });
    }
  });

  test('a loopback port of a callee leads to its first HTTP port', () => {
    assert.deepEqual(routeTo(delivery, undefined), { tag: 'found', route: { call: delivery, port: 8080 } });
  });

  test('an authority with an IPv6 address is split at its last colon', () => {
    assert.deepEqual(splitAuthority('[::1]:8080'), { host: '[::1]', port: 8080 });
    assert.deepEqual(splitAuthority('[::1]'), { host: '[::1]', port: undefined });
  });
});
