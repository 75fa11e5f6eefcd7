import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PodReadiness } from '#kubernetes/pod-readiness.ts';
import type { Pod } from '#kubernetes/resources.ts';

const pod = (uid: string, change: Partial<Pod> = {}): Pod => ({
  namespace: 'shop',
  name: uid,
  uid,
  serviceAccount: 'web',
  node: 'node-1',
  addresses: ['10.0.0.1'],
  isReady: true,
  hasEnded: false,
  isTerminating: false,
  allowsDefaultServiceAccount: false,
  sidecarPort: undefined,
  zone: '',
  ...change,
});

function setting() {
  const changes: string[] = [];
  const readiness = new PodReadiness((address) => changes.push(address));
  return { readiness, changes };
}

test('an address is ready while nobody says otherwise, and as its pod is', () => {
  const { readiness, changes } = setting();
  assert.equal(readiness.isReady('10.0.0.1', 15001), true);
  readiness.update(pod('a'), undefined);
  assert.deepEqual(changes, []);
  readiness.update(pod('a', { isReady: false }), pod('a'));
  assert.equal(readiness.isReady('10.0.0.1', 15001), false);
  readiness.update(undefined, pod('a', { isReady: false }));
  assert.equal(readiness.isReady('10.0.0.1', 15001), true);
  assert.deepEqual(changes, ['10.0.0.1', '10.0.0.1']);
});

test('a pod that goes gets nothing new', () => {
  const { readiness } = setting();
  readiness.update(pod('a', { isTerminating: true }), undefined);
  assert.equal(readiness.isReady('10.0.0.1', 15001), false);
});

test('an address of several pods is ready as long as one of them is', () => {
  const { readiness, changes } = setting();
  readiness.update(pod('a'), undefined);
  readiness.update(pod('b', { isReady: false }), undefined);
  assert.equal(readiness.isReady('10.0.0.1', 15001), true);
  readiness.update(undefined, pod('a'));
  assert.equal(readiness.isReady('10.0.0.1', 15001), false);
  assert.deepEqual(changes, ['10.0.0.1']);
});

test('an address that a pod has left to another is the other’s', () => {
  const { readiness } = setting();
  readiness.update(pod('a', { hasEnded: true, isReady: false }), undefined);
  assert.equal(readiness.isReady('10.0.0.1', 15001), true);
  readiness.update(pod('b'), undefined);
  readiness.update(undefined, pod('a', { hasEnded: true, isReady: false }));
  assert.equal(readiness.isReady('10.0.0.1', 15001), true);
});

test('both addresses of a pod count, and those it no longer has do not', () => {
  const { readiness, changes } = setting();
  const both = pod('a', { addresses: ['10.0.0.1', 'fd00::1'], isReady: false });
  readiness.update(both, undefined);
  assert.deepEqual([readiness.isReady('10.0.0.1', 15001), readiness.isReady('fd00::1', 15001)], [false, false]);
  readiness.update(pod('a', { addresses: ['10.0.0.2'], isReady: false }), both);
  assert.deepEqual(
    ['10.0.0.1', 'fd00::1', '10.0.0.2'].map((address) => readiness.isReady(address, 15001)),
    [true, true, false],
  );
  assert.deepEqual(changes, ['10.0.0.1', 'fd00::1', '10.0.0.1', 'fd00::1', '10.0.0.2']);
});

test('where pods share an address the port says whose an instance is', () => {
  const { readiness, changes } = setting();
  readiness.update(pod('a', { isReady: false, sidecarPort: 15001 }), undefined);
  readiness.update(pod('b', { sidecarPort: 15002 }), undefined);
  const at = (port: number) => readiness.isReady('10.0.0.1', port);
  assert.deepEqual([15001, 15002, 15003].map(at), [false, true, true]);
  readiness.update(pod('c', { isReady: false }), undefined);
  assert.deepEqual([15001, 15002, 15003].map(at), [false, true, false], 'it may be that of a pod without a known port');
  assert.deepEqual(changes, ['10.0.0.1', '10.0.0.1']);
});
