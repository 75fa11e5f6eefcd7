import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { bundlesOf, serializeTrustBundle } from '#certs/trust-bundle.ts';
import { parseTrustBundles } from '#certs/trust-bundle-map.ts';
import { CellPublisher } from '#control-plane/cell-publisher.ts';
import type { LoadedCell } from '#control-plane/policy-source.ts';
import { compileCell } from '#policy/compile.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { federationFeature } from '#policy/snapshot-features.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import { testAuthority } from '../support/test-authority.ts';

const trustDomain = parseTrustDomain('cell-1.example');
const own = await testAuthority(systemClock, trustDomain);
const partner = await testAuthority(systemClock, 'partner.test');

const service = (name: string, from: string) => `---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: shop }
spec:
  serviceAccount: ${name}
  mode: enforce
  ports: [{ port: 80, protocol: http }]
  allow: [{ name: r, from: ["${from}"], account: none }]
`;

function publisherOf(): CellPublisher {
  const bundle = serializeTrustBundle([...partner.bundles.values()][0]!);
  const text = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: ${trustDomain}
  domain: example
  tokenIssuer: https://identity.example
  scopes: {}
  federation: [{ trustDomain: partner.test, trustBundle: '${bundle}' }]
${service('one', 'spiffe://partner.test/billing')}${service('two', 'shop/one')}`;
  const { cells, policies } = readDocuments(text, 'cell.yaml');
  const cell: LoadedCell = {
    document: cells[0]!,
    policies,
    compiled: compileCell(cells[0]!, policies),
    files: new Map(),
  };
  return new CellPublisher({
    cell: new WatchSource(cell),
    rollouts: { effective: (snapshot) => snapshot },
    bundles: new WatchSource(bundlesOf(...own.bundles.values())),
    keySet: new WatchSource(undefined),
    registrations: undefined as never,
    cluster: () => ({ endpointsOf: (_, registered) => registered, zoneAt: () => undefined }),
    askForKey: () => {},
    clock: systemClock,
  });
}

/** The trust domains that whoever subscribes is told to trust. */
function trustedBy(id: SpiffeId, { kind = 'workload', features = [federationFeature] as readonly string[] } = {}) {
  const caller = { kind, peer: { id } } as never;
  const subscriber = { caller, instance: 'i', features: new Set(features), version: '' };
  const { document, requires } = publisherOf().snapshotFor('bundles', subscriber)!;
  assert.deepEqual(requires, []);
  return [...parseTrustBundles(document).keys()].sort();
}

test('bundles of others come to the services whose rules name workloads of theirs, and to no one else', () => {
  const [one, two, three] = ['one', 'two', 'three'].map((name) => workloadId(trustDomain, 'shop', name));
  assert.deepEqual(trustedBy(one!), ['cell-1.example', 'partner.test']);
  assert.deepEqual(trustedBy(two!), ['cell-1.example']);
  assert.deepEqual(trustedBy(three!), ['cell-1.example']);
});

test('a sidecar that does not know how to keep workloads of others apart gets the bundles of its own cell still', () => {
  assert.deepEqual(trustedBy(workloadId(trustDomain, 'shop', 'one'), { features: [] }), ['cell-1.example']);
});
