import { policyFactsOf } from '#cli/check/collect/policy.ts';
import type { CertificateFacts, ControlPlaneFacts, Facts, MachineFacts, SidecarState } from '#cli/check/facts.ts';
import type { RootsReport } from '#cli/roots.ts';

export const nowMs = Date.parse('2026-12-01T12:00:00Z');
export const dayMs = 24 * 3600_000;
const hourMs = 3600_000;

export const goodState: SidecarState = {
  version: '1.4.2',
  nodeVersion: '26.10.0',
  notReady: [],
  keys: 2,
  policyVersion: 'abcdef',
  feed: { isConnected: true, ageMs: 2_000, isStale: false },
  droppedDecisions: 0,
  openFiles: { open: 40, max: 65_536 },
};

export const goodControlPlane: ControlPlaneFacts = {
  sentMs: nowMs,
  receivedMs: nowMs + 20,
  timeMs: nowMs + 10,
  version: '1.4.0',
  nodeVersion: '26.10.0',
  policyVersion: '',
  policyProblems: [],
  roots: ['AAAA'],
  subscribers: [
    {
      name: 'spiffe://cell-1.example/ns/shop/sa/web (web-1)',
      version: '1.4.1',
      types: [{ type: 'policy', revisionSent: 7, revisionAcked: 7, nackReason: '' }],
    },
  ],
  decisions: { records: 10, bytes: 1_000, bytesMax: 1_000_000 },
  tokenKeys: { count: 2, isConnected: true, ageMs: 4_000 },
  openFiles: { open: 40, max: 65_536 },
};

const certificates: readonly CertificateFacts[] = [
  place('the cell', 'root', 10 * 365 * dayMs),
  place('shop/web', 'svid', 12 * hourMs),
  place('shop/web', 'intermediate', 7 * dayMs),
  place('the edge', 'web', 397 * dayMs),
];

/** A certificate that began an hour ago. */
function place(of: string, kind: CertificateFacts['kinds'][number], lifetimeMs: number): CertificateFacts {
  const notBefore = nowMs - hourMs;
  return { of, kinds: [kind], found: { value: [{ kind, notBefore, notAfter: notBefore + lifetimeMs }] } };
}

export const goodMachine: MachineFacts = {
  stateDir: '/cell',
  disk: { value: { freeBytes: 50 * 1024 ** 3, totalBytes: 100 * 1024 ** 3 } },
  exposed: { value: [] },
  processes: [{ name: 'identity', waitsFor: { value: [] } }],
  sidecars: [{ name: 'shop/web', state: { value: goodState } }],
  roots: { value: ['AAAA'] },
  heldRoots: [{ name: 'shop/web', roots: { value: ['AAAA'] } }],
};

const moment = (ms: number) => new Date(ms).toISOString();

/** One root, and no rotation under way. */
export const restingRoots: RootsReport = {
  trustDomain: 'cell-1.example',
  sequence: 1,
  roots: [root('active', nowMs - 30 * dayMs)],
  waitsFor: [],
  waitsUntil: undefined,
  rotatesAt: moment(nowMs + 200 * dayMs),
  intermediate: { serial: '01', notAfter: moment(nowMs + 7 * dayMs) },
};

/** A root that lives 365 days. */
export function root(phase: string, sinceMs: number, untilMs?: number): RootsReport['roots'][number] {
  return {
    ...{ phase, serial: '01', since: moment(sinceMs), until: untilMs === undefined ? undefined : moment(untilMs) },
    ...{ notBefore: moment(sinceMs), notAfter: moment(sinceMs + 365 * dayMs) },
  };
}

export const cellDocument = `
apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: { "orders:read": Reads orders. }
`;

/** `web` calls `store`; both say so. */
export const manifests = `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: web, namespace: shop }
spec:
  serviceAccount: web
  mode: enforce
  ports: [{ port: 8080, protocol: http }]
  expose: [{ hosts: [shop.example], paths: [/orders], auth: required }]
  allow:
    - name: read
      from: [router]
      http: { methods: [GET], paths: [/orders] }
      scopes: [orders:read]
  calls: [{ to: shop/store, carry: [orders:read] }]
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: store, namespace: shop }
spec:
  serviceAccount: store
  mode: enforce
  ports: [{ port: 8080, protocol: http }]
  allow:
    - name: read
      from: [shop/web]
      http: { methods: [GET], paths: [/orders] }
      scopes: [orders:read]
`;

export function policyOf(services = manifests, cell = cellDocument): Facts['policy'] {
  const texts = new Map([
    ['cell.yaml', cell],
    ['services.yaml', services],
  ]);
  return { value: policyFactsOf(texts, nowMs) };
}

/** What each replica says; of several each has a name. */
export function said(...all: readonly ControlPlaneFacts[]): Facts['controlPlane'] {
  const [only] = all;
  if (all.length === 1) return [{ name: 'the control plane', said: { value: only! } }];
  return all.map((value, at) => ({ name: `pod-${at + 1}`, said: { value } }));
}

const policy = policyOf();

/** A cell on one machine with which everything is well. */
export const wellOnMachine: Facts = {
  nowMs,
  failBeforeMs: 30 * dayMs,
  program: { version: '1.4.0', nodeVersion: '26.10.0', nodeOptions: '', openFiles: { open: 20, max: 65_536 } },
  certificates,
  controlPlane: said({ ...goodControlPlane, policyVersion: 'value' in policy ? policy.value.version! : '' }),
  policy,
  rollouts: { value: [] },
  rotations: [{ of: 'the cell', roots: { value: restingRoots } }],
  plaintextCallers: undefined,
  machine: goodMachine,
};
