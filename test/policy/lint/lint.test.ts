import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { lint } from '#policy/lint/lint.ts';
import { type LintRuleName, lintRules } from '#policy/lint/lint-rules.ts';

const nowMs = Date.UTC(2026, 10, 28);
const options = { nowMs, expiresWithinMs: 30 * 86_400_000 };

const cell = (more = '') => `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes:
    a:read: Read a.
    a:write: Write a.
${more}`;

const service = (name: string, spec = '', port = '{ port: 80, protocol: http }') => `apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: n }
spec:
  serviceAccount: ${name}
  mode: enforce
  ports: [${port}]
${spec}`;

const exposed = '  expose: [{ hosts: [x.example], paths: ["/**"], auth: required }]\n';
const edge = (carry: string, more = '') =>
  service(
    'web',
    `${exposed}  allow: [{ name: in, from: [router], scopes: [a:read] }, { name: out, from: [router], scopes: [a:write] }]\n  calls: [{ to: n/db${carry} }]\n${more}`,
  );

function findingsOf(...documents: readonly string[]): string[] {
  const texts = new Map([['m.yaml', documents.join('---\n')]]);
  return lint(texts, options).findings.map(
    ({ rule, line, column, message }) => `${line}:${column} ${rule}: ${message}`,
  );
}

/** Rule by rule: manifests with the finding, its place and words; and how little makes it go away. */
const cases: Readonly<
  Record<Exclude<LintRuleName, `suppression-${string}`>, { finds: string[]; says: string; not: string[] }>
> = {
  'document-invalid': {
    finds: [cell(), service('web', '  alow: []\n')],
    says: '19:3 document-invalid: unknown key `alow`; did you mean `allow`?',
    not: [cell(), service('web', '  allow: []\n')],
  },
  contradiction: {
    finds: [cell(), service('web', '  calls: [{ to: n/db }]\n')],
    says: '19:11 contradiction: no manifest declares n/db',
    not: [cell(), edge(''), service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n')],
  },
  'cell-missing': {
    finds: [service('web')],
    says: '1:1 cell-missing: no file of the directory holds a Cell document',
    not: [cell(), service('web')],
  },
  'rule-expired': {
    finds: [
      cell(),
      service('web', '  allow:\n    - { name: r, from: [n/x], scopes: [a:read], until: 2026-11-28T00:00:00Z }\n'),
    ],
    says: '20:7 rule-expired: rule r ended at 2026-11-28T00:00:00.000Z',
    not: [
      cell(),
      service('web', '  allow:\n    - { name: r, from: [n/x], scopes: [a:read], until: 2026-11-28T00:00:01Z }\n'),
    ],
  },
  'rule-expires': {
    finds: [
      cell(),
      service('web', '  allow:\n    - { name: r, from: [n/x], scopes: [a:read], until: 2026-12-28T00:00:00Z }\n'),
    ],
    says: '20:7 rule-expires: rule r ends at 2026-12-28T00:00:00.000Z',
    not: [
      cell(),
      service('web', '  allow:\n    - { name: r, from: [n/x], scopes: [a:read], until: 2026-12-28T00:00:01Z }\n'),
    ],
  },
  'plaintext-too-long': {
    finds: [cell(), service('web', '  inbound: { mode: observe-plaintext, until: 2027-02-26T00:00:01Z }\n')],
    says: '12:1 plaintext-too-long: 2027-02-26T00:00:01.000Z is more than 90 days ahead',
    not: [cell(), service('web', '  inbound: { mode: observe-plaintext, until: 2027-02-26T00:00:00Z }\n')],
  },
  'plaintext-ends': {
    finds: [cell(), service('web', '  inbound: { mode: observe-plaintext, until: 2026-12-28T00:00:00Z }\n')],
    says: '12:1 plaintext-ends: from 2026-12-28T00:00:00.000Z on callers without TLS are turned away',
    not: [cell(), service('web', '  inbound: { mode: observe-plaintext, until: 2026-12-28T00:00:01Z }\n')],
  },
  'plaintext-ended': {
    finds: [cell(), service('web', '  inbound: { mode: observe-plaintext, until: 2026-11-28T00:00:00Z }\n')],
    says: '12:1 plaintext-ended: `inbound` is strict since 2026-11-28T00:00:00.000Z',
    not: [cell(), service('web', '  inbound: { mode: strict }\n')],
  },
  'unmeshed-never-comes': {
    finds: [cell(), service('web', '  allow: [{ name: r, from: [unmeshed], account: none }]\n')],
    says: '19:11 unmeshed-never-comes: rule r is for `unmeshed`, and `inbound` is strict',
    not: [
      cell(),
      service(
        'web',
        '  inbound: { mode: observe-plaintext, until: 2027-01-28T00:00:00Z }\n  allow: [{ name: r, from: [unmeshed], account: none }]\n',
      ),
    ],
  },
  'rule-shadowed': {
    finds: [
      cell(),
      service(
        'web',
        '  allow:\n    - { name: r, from: [n/x], http: { paths: ["/a/*"] }, scopes: [a:read] }\n    - { name: s, from: [n/x], http: { paths: ["/a/**"] } }\n',
      ),
    ],
    says: '20:7 rule-shadowed: rule r is of no use: all that it allows s (line 21) allows',
    not: [
      cell(),
      service(
        'web',
        '  allow:\n    - { name: r, from: [n/x], http: { paths: ["/a/*"] }, scopes: [a:read] }\n    - { name: s, from: [n/x], http: { paths: ["/a/*/**"] } }\n',
      ),
    ],
  },
  'rule-unsatisfiable': {
    finds: [
      cell(),
      edge(', carry: [a:read]'),
      service(
        'db',
        '  allow:\n    - { name: r, from: [n/web], scopes: [a:read] }\n    - { name: s, from: [n/web], http: { paths: [/x] }, scopes: [a:write] }\n',
      ),
    ],
    says: '32:7 rule-unsatisfiable: rule s needs a customer with a:write, and at most n/web brings a:read of a customer',
    not: [
      cell(),
      edge(', carry: [a:read, a:write]'),
      service(
        'db',
        '  allow:\n    - { name: r, from: [n/web], scopes: [a:read] }\n    - { name: s, from: [n/web], http: { paths: [/x] }, scopes: [a:write] }\n',
      ),
    ],
  },
  'router-never-sends': {
    finds: [
      cell(),
      service(
        'web',
        '  expose: [{ hosts: [x.example], paths: ["/v1/**"], auth: required }]\n  allow: [{ name: r, from: [router], http: { paths: [/v2/a] } }]\n',
      ),
    ],
    says: '20:11 router-never-sends: rule r is for routers, and no `expose` sends there what it is about',
    not: [
      cell(),
      service(
        'web',
        '  expose: [{ hosts: [x.example], paths: ["/v1/**"], auth: required }]\n  allow: [{ name: r, from: [router], http: { paths: ["/v1/*"] } }]\n',
      ),
    ],
  },
  'exposure-not-allowed': {
    finds: [
      cell(),
      service(
        'web',
        '  expose: [{ hosts: [x.example], paths: ["/v1/**", "/v2/**"], auth: required }]\n  allow: [{ name: r, from: [router], http: { paths: [/v2/a] } }]\n',
      ),
    ],
    says: '12:1 exposure-not-allowed: /v1/** is exposed, and no rule allows routers anything there',
    not: [
      cell(),
      service(
        'web',
        '  expose: [{ hosts: [x.example], paths: ["/v1/**", "/v2/**"], auth: required }]\n  allow: [{ name: r, from: [router] }]\n',
      ),
    ],
  },
  'peer-undeclared': {
    finds: [cell(), service('web'), service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n')],
    says: '27:11 peer-undeclared: rule r: the manifest of n/web does not declare this call',
    not: [cell(), edge(''), service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n')],
  },
  'peer-unknown': {
    finds: [cell(), service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n')],
    says: '19:11 peer-unknown: rule r: n/web has no manifest',
    not: [cell(), edge(''), service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n')],
  },
  'peer-untrusted': {
    finds: [cell(), service('web', '  allow: [{ name: r, from: ["spiffe://partner.test/job"], account: none }]\n')],
    says: '19:11 peer-untrusted: rule r: nobody vouches for spiffe://partner.test/job: `federation` lacks its trust domain',
    not: [
      cell(`  federation: [{ trustDomain: partner.test, trustBundle: '{"keys":[]}' }]\n`),
      service('web', '  allow: [{ name: r, from: ["spiffe://partner.test/job"], account: none }]\n'),
    ],
  },
  'peers-none': {
    finds: [
      cell(),
      edge(''),
      service(
        'db',
        '  allow: [{ name: r, from: ["spiffe://cell-1.example/ns/n/sa/w", "spiffe://cell-1.example/ns/m/sa/*"], scopes: [a:read] }]\n',
      ),
    ],
    says: '30:11 peers-none: rule r: no service that declares this call matches spiffe://cell-1.example/ns/m/sa/*',
    not: [
      cell(),
      edge(''),
      service('db', '  allow: [{ name: r, from: ["spiffe://cell-1.example/ns/n/sa/*"], scopes: [a:read] }]\n'),
    ],
  },
  'call-not-allowed': {
    finds: [cell(), edge(''), service('db', '  allow: [{ name: r, from: [n/x], scopes: [a:read] }]\n')],
    says: '21:11 call-not-allowed: no rule of n/db is for n/web',
    not: [cell(), edge(''), service('db', '  allow: [{ name: r, from: [n/x, n/web], scopes: [a:read] }]\n')],
  },
  'call-unsatisfiable': {
    finds: [
      cell(),
      edge(', carry: [a:read]'),
      service('db', '  allow: [{ name: r, from: [n/web], anyScope: [a:write] }]\n'),
    ],
    says: '21:11 call-unsatisfiable: n/db needs a customer with a:write, and the call brings at most a:read of a customer',
    not: [
      cell(),
      edge(', carry: [], own: [a:write]'),
      service('db', '  allow: [{ name: r, from: [n/web], anyScope: [a:write], account: none }]\n'),
    ],
  },
  'carry-never-held': {
    finds: [
      cell('  ceiling: [{ from: router, to: any, scopes: [a:read] }]\n'),
      edge(', carry: [a:read, a:write]'),
      service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n'),
    ],
    says: '22:11 carry-never-held: the call to n/db carries a:write, which never comes to n/web',
    not: [
      cell('  ceiling: [{ from: router, to: any, scopes: [a:read] }]\n'),
      edge(', carry: [a:read]'),
      service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n'),
    ],
  },
  'ceiling-cuts': {
    finds: [
      cell('  ceiling: [{ from: n/*, to: n/db, scopes: [a:read] }]\n'),
      edge(', carry: [a:read, a:write]'),
      service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n'),
    ],
    says: '22:11 ceiling-cuts: n/web -> n/db: the ceiling takes a:write out of `carry`',
    not: [
      cell('  ceiling: [{ from: m/*, to: n/db, scopes: [a:read] }]\n'),
      edge(', carry: [a:read, a:write]'),
      service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n'),
    ],
  },
  'ceiling-narrows': {
    finds: [
      cell('  ceiling: [{ from: any, to: any, scopes: [a:read] }]\n'),
      edge(''),
      service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n'),
    ],
    says: '22:11 ceiling-narrows: n/web -> n/db: the ceiling keeps a:write back, and `carry` is not written out',
    not: [
      cell('  ceiling: [{ from: any, to: any, scopes: [a:read] }]\n'),
      edge(', carry: [a:read]'),
      service('db', '  allow: [{ name: r, from: [n/web], scopes: [a:read] }]\n'),
    ],
  },
  any: {
    finds: [cell(), edge(''), service('db', '  allow: [{ name: r, from: [any], scopes: [a:read] }]\n')],
    says: '30:11 any: rule r is for any workload that declares the call',
    not: [
      cell(),
      edge(''),
      service('db', '  allow: [{ name: r, from: [any], scopes: [a:read] }] # lint: allow any: it is a store for all\n'),
    ],
  },
  'peers-broad': {
    finds: [
      cell(),
      edge(''),
      service('db', '  allow: [{ name: r, from: ["spiffe://cell-1.example/**"], scopes: [a:read] }]\n'),
    ],
    says: '30:11 peers-broad: rule r: spiffe://cell-1.example/** means every namespace',
    not: [
      cell(),
      edge(''),
      service('db', '  allow: [{ name: r, from: ["spiffe://cell-1.example/ns/n/**"], scopes: [a:read] }]\n'),
    ],
  },
  'paths-broad': {
    finds: [cell(), service('db', '  allow: [{ name: r, from: [n/x], http: { paths: ["/**"] } }]\n')],
    says: '19:11 paths-broad: rule r is for every path, and needs no scope, no claim and no actor',
    not: [cell(), service('db', '  allow: [{ name: r, from: [n/x], account: none }]\n', '{ port: 80, protocol: tcp }')],
  },
  'scope-unused': {
    finds: [cell()],
    says: '10:5 scope-unused: no manifest speaks of the scope a:write',
    not: [cell(), edge(''), service('db')],
  },
  'candidate-needless': {
    finds: [cell(), service('web'), service('web', '  rollout: { percent: 10, newlyDeniedMax: 1% }\n')],
    says: '20:1 candidate-needless: the candidate of n/web says what the version in force says',
    not: [
      cell(),
      service('web'),
      service('web', '  rollout: { percent: 10, newlyDeniedMax: 1% }\n  allow: [{ name: r, from: [n/x] }]\n'),
    ],
  },
  'candidate-complete': {
    finds: [
      cell(),
      service('web'),
      service('web', '  rollout: { percent: 100, newlyDeniedMax: 1% }\n  allow: [{ name: r, from: [n/x] }]\n'),
    ],
    says: '20:1 candidate-complete: the candidate of n/web is in force for all accounts',
    not: [
      cell(),
      service('web'),
      service('web', '  rollout: { percent: 99, newlyDeniedMax: 1% }\n  allow: [{ name: r, from: [n/x] }]\n'),
    ],
  },
};

describe('lint finds', () => {
  for (const [rule, { finds, says, not }] of Object.entries(cases)) {
    test(rule, () => {
      const found = findingsOf(...finds);
      assert.ok(found.includes(says), `${says}\nis not among\n${found.join('\n')}`);
      const others = findingsOf(...not).filter((one) => one.includes(` ${rule}: `) && !one.includes('scope a:read'));
      assert.deepEqual(others, []);
    });
  }

  test('nothing that has no case here', () => {
    const named = [...Object.keys(cases), 'suppression-unused', 'suppression-malformed'];
    assert.deepEqual(named.sort(), Object.keys(lintRules).sort());
  });
});

describe('a comment', () => {
  const anyRule = '    - { name: r, from: [any], scopes: [a:read] }';
  const db = (allow: string) => [cell(), edge(''), service('db', `  allow:\n${allow}\n`)];

  test('allows a finding in its own line, and below it', () => {
    assert.deepEqual(findingsOf(...db(`${anyRule} # lint: allow any: all of them keep things`)), []);
    assert.deepEqual(
      findingsOf(...db(`    # lint: allow any: all of them keep things\n    # every night\n${anyRule}`)),
      [],
    );
  });

  test('of several allows each', () => {
    const rule = '    - { name: r, from: [any, "spiffe://cell-1.example/**"], scopes: [a:read] }';
    assert.deepEqual(findingsOf(...db(`${rule} # lint: allow any, peers-broad: all of them keep things`)), []);
  });

  test('that allows nothing is a finding', () => {
    assert.deepEqual(
      findingsOf(...db('    # lint: allow any: none is here\n    - { name: r, from: [n/web], scopes: [a:read] }')),
      ['31:5 suppression-unused: there is no finding any here'],
    );
  });

  for (const [written, said] of [
    ['# lint: allow any', 'write `# lint: allow <rule>: <reason>`'],
    ['# lint: allow any:', 'write `# lint: allow <rule>: <reason>`'],
    ['# lint: disable', 'write `# lint: allow <rule>: <reason>`'],
    ['# lint: allow every: reason', 'every is nothing that can be allowed'],
    ['# lint: allow contradiction: reason', 'contradiction is nothing that can be allowed'],
  ]) {
    test(`${written} allows nothing, and is a finding`, () => {
      const found = findingsOf(...db(`    ${written}\n${anyRule}`));
      assert.deepEqual(found, [
        `31:5 suppression-malformed: ${said}`,
        '32:7 any: rule r is for any workload that declares the call',
      ]);
    });
  }

  test('is not called unused while documents are wrong and not everything was looked at', () => {
    const found = findingsOf(...db(`${anyRule} # lint: allow rule-shadowed: kept for later\n    - 1`));
    assert.ok(
      found.every((one) => !one.includes('suppression-unused')),
      found.join('\n'),
    );
  });
});
