import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checks } from '#cli/check/checks.ts';
import type { ClusterFacts, MeshPod, WebhookFacts } from '#cli/check/cluster-facts.ts';
import type { Facts } from '#cli/check/facts.ts';
import { hasFailed, judge } from '#cli/check/judge.ts';
import { type Case, checkCases } from './cases.ts';
import { goodCluster, goodPod, goodWebhook, wellInCluster } from './well-cluster.ts';
import { goodControlPlane, nowMs, said } from './well-facts.ts';

function cluster(change: Partial<ClusterFacts>): Facts {
  return { ...wellInCluster, cluster: { ...goodCluster, ...change } };
}

function pod(change: Partial<MeshPod>): Facts {
  return cluster({ pods: { value: [goodPod, { ...goodPod, name: 'web-2', ...change }] } });
}

function injector(change: Partial<NonNullable<WebhookFacts['found']>> | undefined): Facts {
  const found = change && { ...goodWebhook, ...change };
  return cluster({ webhooks: { value: [{ configuration: 'cellmesh-injector', found }] } });
}

function definition(change: object | undefined): Facts {
  const [first] = 'value' in goodCluster.definitions ? goodCluster.definitions.value : [];
  return cluster({ definitions: { value: [{ name: first!.name, found: change && { ...first!.found!, ...change } }] } });
}

const forbidden = { unknown: 'forbidden: User "viewer" cannot list' };
const [object] = 'value' in goodCluster.policyObjects ? goodCluster.policyObjects.value : [];

const cases: Readonly<Record<string, readonly Case[]>> = {
  'kubernetes-version': [
    {
      name: 'an old one',
      facts: cluster({ serverVersion: { value: 'v1.28.9' } }),
      verdict: 'fail',
      says: /no native sidecars/,
    },
    { name: 'no answer', facts: cluster({ serverVersion: forbidden }), verdict: 'unknown', says: /forbidden/ },
  ],
  crds: [
    { name: 'none', facts: definition(undefined), verdict: 'fail', says: /servicepolicies\.cellmesh\.io is not there/ },
    {
      name: 'one that is not served',
      facts: definition({ isEstablished: false }),
      verdict: 'fail',
      says: /not established/,
    },
    {
      name: 'another version',
      facts: definition({ served: ['v1'] }),
      verdict: 'fail',
      says: /does not serve v1alpha1/,
    },
    {
      name: 'an older one',
      facts: definition({ specFields: ['serviceAccount'] }),
      verdict: 'warn',
      says: /it drops .*spec\.allow/,
    },
  ],
  replicas: [
    { name: 'none', facts: cluster({ deployment: { value: undefined } }), verdict: 'fail', says: /no Deployment/ },
    {
      name: 'none ready',
      facts: cluster({ deployment: { value: { wanted: 2, ready: 0 } } }),
      verdict: 'fail',
      says: /0 of 2/,
    },
    {
      name: 'one ready',
      facts: cluster({ deployment: { value: { wanted: 2, ready: 1 } } }),
      verdict: 'warn',
      says: /1 of 2/,
    },
    {
      name: 'one wanted',
      facts: cluster({ deployment: { value: { wanted: 1, ready: 1 } } }),
      verdict: 'warn',
      says: /while it is away/,
    },
  ],
  'disruption-budget': [
    {
      name: 'none',
      facts: cluster({ hasDisruptionBudget: { value: false } }),
      verdict: 'warn',
      says: /no PodDisruptionBudget/,
    },
  ],
  leader: [
    { name: 'nobody', facts: cluster({ lease: { value: undefined } }), verdict: 'fail', says: /nobody holds/ },
    {
      name: 'one that is gone',
      facts: cluster({ lease: { value: { holder: 'pod-1', renewedMs: nowMs - 120_000, durationMs: 15_000 } } }),
      verdict: 'fail',
      says: /2 min ago: nobody leads/,
    },
    {
      name: 'one of the future',
      facts: cluster({ lease: { value: { holder: 'pod-1', renewedMs: nowMs + 45_000, durationMs: 15_000 } } }),
      verdict: 'warn',
      says: /clocks differ/,
    },
  ],
  rights: [
    {
      name: 'one that is missing',
      facts: cluster({ rights: { value: [{ what: 'create tokenreviews.authentication.k8s.io', isAllowed: false }] } }),
      verdict: 'fail',
      says: /may not create tokenreviews/,
    },
  ],
  webhooks: [
    { name: 'none', facts: injector(undefined), verdict: 'fail', says: /is not there/ },
    {
      name: 'one that fails open',
      facts: injector({ failurePolicy: 'Ignore' }),
      verdict: 'fail',
      says: /everything passes/,
    },
    {
      name: 'one for every namespace',
      facts: injector({ optInLabel: undefined }),
      verdict: 'fail',
      says: /not bound to namespaces/,
    },
    { name: 'one without authority', facts: injector({ authorities: [] }), verdict: 'fail', says: /no caBundle/ },
    { name: 'one that may take long', facts: injector({ timeoutSeconds: 30 }), verdict: 'warn', says: /30 s/ },
  ],
  'webhook-authority': [
    {
      name: 'another root',
      facts: injector({ authorities: [{ ...goodWebhook.authorities[0]!, der: 'BBBB' }] }),
      verdict: 'fail',
      says: /lacks a root of the cell/,
    },
  ],
  'webhook-answers': [
    {
      name: 'a pod without',
      facts: cluster({ trial: { value: { namespace: 'shop', outcome: 'plain' } } }),
      verdict: 'fail',
      says: /would get none/,
    },
    {
      name: 'a webhook that does not answer',
      facts: cluster({ trial: { value: { namespace: 'shop', outcome: { refusal: 'failed calling webhook' } } } }),
      verdict: 'fail',
      says: /failed calling webhook/,
    },
    { name: 'nowhere to try', facts: cluster({ trial: { value: undefined } }), verdict: 'warn', says: /no namespace/ },
    { name: 'a right that we lack', facts: cluster({ trial: forbidden }), verdict: 'unknown', says: /forbidden/ },
  ],
  'policies-accepted': [
    {
      name: 'a refused one',
      facts: cluster({
        policyObjects: {
          value: [{ ...object!, accepted: { isAccepted: false, isWhole: false, message: 'no manifest declares x' } }],
        },
      }),
      verdict: 'fail',
      says: /shop\/web is refused: no manifest declares x/,
    },
    {
      name: 'one that is in force in part',
      facts: cluster({
        policyObjects: { value: [{ ...object!, accepted: { isAccepted: true, isWhole: false, message: 'a typo' } }] },
      }),
      verdict: 'warn',
      says: /in force in part: a typo/,
    },
    {
      name: 'a new one',
      facts: cluster({ policyObjects: { value: [{ ...object!, accepted: undefined }] } }),
      verdict: 'warn',
      says: /nobody has judged/,
    },
  ],
  'policies-programmed': [
    {
      name: 'pods that do not have it',
      facts: cluster({
        policyObjects: {
          value: [
            {
              ...object!,
              programmed: { isProgrammed: false, message: '1 of 3 pods have it', sinceMs: nowMs - 600_000 },
            },
          ],
        },
      }),
      verdict: 'warn',
      says: /ServicePolicy shop\/web is not everywhere, since 10 min ago: 1 of 3 pods have it/,
    },
  ],
  'node-clocks': [
    {
      name: 'a node of the future',
      facts: cluster({ nodes: { value: [{ name: 'node-1', renewedMs: nowMs + 60_000 }] } }),
      verdict: 'warn',
      says: /60 s ahead/,
    },
    {
      name: 'a node of the past',
      facts: cluster({ nodes: { value: [{ name: 'node-1', renewedMs: nowMs - 90_000 }] } }),
      verdict: 'warn',
      says: /90 s ago/,
    },
  ],
  namespaces: [{ name: 'none', facts: cluster({ namespaces: { value: [] } }), verdict: 'warn', says: /none has/ }],
  'trust-bundle-maps': [
    {
      name: 'an older one than the control plane hands out',
      facts: { ...wellInCluster, controlPlane: said({ ...goodControlPlane, roots: ['BBBB'] }) },
      verdict: 'fail',
      says: /bundle in cellmesh is not the one/,
    },
    {
      name: 'none at all',
      facts: cluster({ bundles: { value: [{ namespace: 'cellmesh', text: undefined }] } }),
      verdict: 'fail',
      says: /in cellmesh/,
    },
    {
      name: 'an old one',
      facts: cluster({
        bundles: {
          value: [
            { namespace: 'cellmesh', text: 'new' },
            { namespace: 'shop', text: 'old' },
          ],
        },
      }),
      verdict: 'fail',
      says: /bundle in shop is not that of cellmesh/,
    },
    {
      name: 'a namespace without',
      facts: cluster({
        bundles: {
          value: [
            { namespace: 'cellmesh', text: 'new' },
            { namespace: 'shop', text: undefined },
          ],
        },
      }),
      verdict: 'fail',
      says: /shop has no ConfigMap/,
    },
  ],
  'pods-without-sidecar': [
    { name: 'one made before', facts: pod({ sidecarImage: undefined }), verdict: 'warn', says: /shop\/web-2 has none/ },
  ],
  'pods-old-sidecar': [
    {
      name: 'an older image',
      facts: pod({ sidecarImage: 'registry.example/cellmesh:1.3.0' }),
      verdict: 'warn',
      says: /web-2 runs .*1\.3\.0/,
    },
  ],
  'pods-default-account': [
    { name: 'one', facts: pod({ serviceAccount: 'default' }), verdict: 'fail', says: /web-2 runs as `default`/ },
  ],
  'pods-host-network': [
    { name: 'one', facts: pod({ isHostNetwork: true }), verdict: 'warn', says: /web-2 has the network of its node/ },
  ],
  interception: [
    { name: 'rules that were not set', facts: pod({ interception: 'failed' }), verdict: 'fail', says: /could not set/ },
    {
      name: 'nobody who sets them',
      facts: pod({ wantsTransparent: true }),
      verdict: 'fail',
      says: /no container that sets/,
    },
  ],
  'network-policies': [
    { name: 'none', facts: cluster({ isolated: { value: [] } }), verdict: 'warn', says: /shop has none/ },
  ],
  'services-past-sidecar': [
    {
      name: 'a number',
      facts: cluster({
        services: { value: [{ namespace: 'shop', name: 'web', selector: { app: 'web' }, targetPorts: [8080] }] },
      }),
      verdict: 'warn',
      says: /leads to port 8080/,
    },
    {
      name: 'a name',
      facts: cluster({
        services: { value: [{ namespace: 'shop', name: 'web', selector: { app: 'web' }, targetPorts: ['http'] }] },
      }),
      verdict: 'warn',
      says: /leads to port http/,
    },
    {
      name: 'an excluded port of a pod in transparent mode',
      facts: {
        ...wellInCluster,
        cluster: {
          ...goodCluster,
          pods: { value: [{ ...goodPod, interception: 'done', excludedInboundPorts: [9090] }] },
          services: {
            value: [{ namespace: 'shop', name: 'web', selector: { app: 'web' }, targetPorts: [8080, 9090] }],
          },
        },
      },
      verdict: 'warn',
      says: /^the Service shop\/web leads to port 9090, past the sidecar$/,
    },
  ],
  'accounts-without-policy': [
    { name: 'one', facts: pod({ serviceAccount: 'mail' }), verdict: 'warn', says: /shop\/mail has pods and no/ },
  ],
  'policies-without-pods': [
    {
      name: 'one',
      facts: cluster({ pods: { value: [] } }),
      verdict: 'warn',
      says: /no pod with a sidecar runs as shop\/web/,
    },
  ],
};

describe('a cell in a cluster with which everything is well', () => {
  test('passes every check, strictly', () => {
    const results = judge(checks, wellInCluster);
    const wrong = results.filter(({ verdict }) => verdict !== 'ok');
    assert.deepEqual(
      wrong.map(({ check, findings }) => [check.id, findings]),
      [],
    );
    assert.equal(hasFailed(results, { strict: true }), false);
  });
});

checkCases(
  'checks in a cluster',
  checks.filter(({ group }) => group === 'cluster' || group === 'pods'),
  cases,
);

test('of hundreds of pods with the same trouble a few are named', () => {
  const pods = Array.from({ length: 300 }, (_, at) => ({ ...goodPod, name: `web-${at}`, sidecarImage: undefined }));
  const [result] = judge(
    checks.filter(({ id }) => id === 'pods-without-sidecar'),
    cluster({ pods: { value: pods } }),
  );
  assert.equal(result!.findings.length, 21);
  assert.equal(result!.findings.at(-1)!.what, 'and 280 more');
});
