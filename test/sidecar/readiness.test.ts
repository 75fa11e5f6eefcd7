import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serializeEndpoints } from '#net/endpoints.ts';
import { compileCell } from '#policy/compile.ts';
import { readManifests } from '#policy/read-manifests.ts';
import { serializePolicySnapshot } from '#policy/snapshot.ts';
import { systemClock as clock } from '#runtime/clock.ts';
import { Lifecycle } from '#runtime/lifecycle.ts';
import { silentLogger as logger } from '#runtime/logger.ts';
import { Readiness } from '#sidecar/readiness.ts';
import type { SidecarConfig } from '#sidecar/sidecar-config.ts';
import { SidecarState } from '#sidecar/sidecar-state.ts';

const policy = (name: string, calls: string) => `---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: shop }
spec: { serviceAccount: ${name}, mode: enforce, ports: [{ port: 80, protocol: http }], calls: [${calls}] }
`;
const manifests = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec: { trustDomain: cell-1.example, domain: example, tokenIssuer: "https://i", scopes: {} }
${policy('web', '{ to: shop/db }')}${policy('db', '')}`;

/** A sidecar that lacks nothing, of a service, and what its control plane would tell. */
async function sidecarOf(name: string) {
  const { cell, policies } = readManifests(new Map([['m.yaml', manifests]]));
  const snapshot = [...compileCell(cell, policies).snapshots.values()].find((one) => one.service.name === name)!;
  const state = new SidecarState(snapshot.service.id);
  const lifecycle = new Lifecycle(logger);
  await lifecycle.start();
  const readiness = new Readiness({ config: {} as SidecarConfig, state, lifecycle, clock, logger });
  const { policy, endpoints } = state.receivers(undefined as never);
  return {
    readiness,
    snapshot,
    tellPolicy: () => policy!(serializePolicySnapshot(snapshot)),
    tellEndpoints: endpoints!,
  };
}

test('an application starts when its sidecar was told where those are whom it calls, be it that nobody is there', async () => {
  const { readiness, snapshot, tellPolicy, tellEndpoints } = await sidecarOf('shop/web');
  tellPolicy();
  const untold = ['endpoints: the control plane has not told yet where shop/db is'];
  assert.deepEqual(readiness.notStarted(), untold);
  tellEndpoints(serializeEndpoints(new Map()));
  assert.deepEqual(readiness.notStarted(), untold, 'what was told before the policy is not about its calls');
  tellEndpoints(serializeEndpoints(new Map([[snapshot.calls[0]!.id, []]])));
  assert.deepEqual(readiness.notStarted(), []);
  tellEndpoints(serializeEndpoints(new Map()));
  assert.deepEqual(readiness.notStarted(), [], 'from then on it has started');
});

test('an application that calls nobody waits for nobody', async () => {
  const { readiness, tellPolicy } = await sidecarOf('shop/db');
  tellPolicy();
  assert.deepEqual(readiness.notStarted(), []);
});
