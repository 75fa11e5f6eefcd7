import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { graphOf, narrowedTo, type PolicyGraph } from '#policy/graph/graph.ts';
import { mermaidOf } from '#policy/graph/mermaid.ts';
import { readManifests } from '#policy/read-manifests.ts';

const cell = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: { a:read: Read a., a:write: Write a. }
`;

const service = (name: string, spec: string, mode = 'enforce') => `---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: n }
spec:
  serviceAccount: ${name}
  mode: ${mode}
  ports: [{ port: 80, protocol: http }]
  ${spec}
`;

function graph(...services: readonly string[]): PolicyGraph {
  const { cell: document, policies } = readManifests(new Map([['m.yaml', [cell, ...services].join('')]]));
  return graphOf(document, policies);
}

const web = service(
  'web',
  `expose: [{ hosts: [x.example], paths: ["/**"], auth: required }]
  allow: [{ name: in, from: [router], anyScope: [a:read, a:write] }, { name: none, from: [router] }]
  calls: [{ to: n/db, carry: [a:read], own: [a:write] }, { to: n/log, carry: [a:read] }, { to: n/mail }]`,
);
const db = service(
  'db',
  `allow:
    - { name: read, from: [n/web, n/log], http: { methods: [GET] }, scopes: [a:read] }
    - { name: write, from: [any], http: { methods: [PUT] }, scopes: [a:write], account: none }
    - { name: both, from: [n/web], http: { methods: [POST] }, scopes: [a:read, a:write] }`,
  'audit',
);
const log = service('log', 'allow: [{ name: r, from: [n/web], scopes: [a:write] }]');
const mail = service('mail', 'allow: [{ name: r, from: [n/jobs, router], account: none }]');
const whole = graph(web, db, log, mail);

describe('the graph', () => {
  test('has an edge for everybody that one side names, with what can come over it or why nothing can', () => {
    assert.deepEqual(whole.edges, [
      { from: 'router', to: 'n/web', rules: ['in', 'none'], scopes: ['a:read', 'a:write'], own: [] },
      { from: 'n/web', to: 'n/db', rules: ['read', 'write'], scopes: ['a:read'], own: ['a:write'] },
      { from: 'n/log', to: 'n/db', missing: 'call', rules: [], scopes: [], own: [] },
      { from: 'n/web', to: 'n/log', missing: 'scopes', rules: [], scopes: [], own: [] },
      { from: 'router', to: 'n/mail', missing: 'call', rules: [], scopes: [], own: [] },
      { from: 'n/web', to: 'n/mail', missing: 'rule', rules: [], scopes: [], own: [] },
      { from: 'n/jobs', to: 'n/mail', rules: ['r'], scopes: [], own: [] },
    ]);
  });

  test('has every service, and who is named without a manifest', () => {
    assert.deepEqual(whole.services, [
      { name: 'n/web', mode: 'enforce' },
      { name: 'n/db', mode: 'audit' },
      { name: 'n/log', mode: 'enforce' },
      { name: 'n/mail', mode: 'enforce' },
      { name: 'n/jobs' },
    ]);
  });

  test('of one service has its callers and callees', () => {
    const { services, edges } = narrowedTo(whole, 'n/log');
    assert.deepEqual(
      services.map(({ name }) => name),
      ['n/web', 'n/db', 'n/log'],
    );
    assert.deepEqual(
      edges.map(({ from, to }) => `${from} ${to}`),
      ['n/log n/db', 'n/web n/log'],
    );
  });

  test('is a flowchart of Mermaid, dashed where nothing goes', () => {
    assert.equal(
      mermaidOf(whole),
      `flowchart LR
  n0(["router"])
  n1["n/web"]
  n2["n/db<br/>audit"]
  n3["n/log"]
  n4["n/mail"]
  n5>"n/jobs<br/>no manifest"]
  n0 -->|"a:read<br/>a:write"| n1
  n1 -->|"a:read<br/>own a:write"| n2
  n3 -.->|"not declared"| n2
  n1 -.->|"not enough scopes"| n3
  n0 -.->|"not declared"| n4
  n1 -.->|"no rule"| n4
  n5 -->|"no scope"| n4`,
    );
  });

  test('escapes what Mermaid would read', () => {
    const name = 'a"]; click n0 "x#<b>&';
    const drawn = mermaidOf({ services: [{ name, mode: 'enforce' }], edges: [] });
    assert.equal(drawn, 'flowchart LR\n  n0["a#34;]; click n0 #34;x#35;#60;b#62;#38;"]');
  });
});
