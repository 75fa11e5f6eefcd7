import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import type { Change, Effect } from '#policy/diff/change.ts';
import { diff } from '#policy/diff/diff.ts';
import { diffText } from '#policy/diff/diff-text.ts';
import { ruleChanges } from '#policy/diff/rule-changes.ts';
import { readManifests } from '#policy/read-manifests.ts';
import type { SnapshotRule } from '#policy/snapshot.ts';
import { request, rules, snapshotOf } from './random-policy.ts';

const apiVersion = 'cellmesh.io/v1alpha1';
const until = '2027-01-01T00:00:00Z';

/** A cell with something in every field. */
function base() {
  const db = {
    serviceAccount: 'db',
    mode: 'enforce',
    hosts: ['db', 'db.n'],
    ports: [
      { port: 80, protocol: 'http' },
      { port: 81, protocol: 'grpc' },
    ],
    allow: [
      { name: 'read', from: ['n/web'], port: 80, http: { methods: ['GET'], paths: ['/a/*'] }, scopes: ['a:read'] },
      { name: 'write', from: ['n/web', 'n/jobs'], anyScope: ['a:read', 'a:write'], account: 'none' },
      { name: 'bot', from: ['any'], actor: ['bot'], claims: [{ claim: 'sub', in: ['x', 'y'] }], until },
      { name: 'often', from: ['n/web'], http: { paths: ['/b'] }, limits: [{ per: 'peer', perSecond: 5, burst: 9 }] },
    ] as Record<string, unknown>[],
  };
  const call: Record<string, unknown> = { to: 'n/db', carry: ['a:read'], own: ['a:write'], timeouts: { head: '2s' } };
  return {
    cell: {
      trustDomain: 'cell-1.example',
      domain: 'example',
      tokenIssuer: 'https://i',
      scopes: { 'a:read': 'Read a.', 'a:write': 'Write a.' } as Record<string, string>,
      ceiling: [{ from: 'n/*', to: 'any', scopes: ['a:read', 'a:write'] }],
    },
    name: 'web',
    web: {
      serviceAccount: 'web',
      mode: 'enforce',
      ports: [{ port: 80, protocol: 'http' }],
      expose: [{ hosts: ['x.example'], paths: ['/**'], auth: 'required' }],
      calls: [call],
    },
    db,
    candidate: {
      serviceAccount: 'db',
      mode: 'enforce',
      ports: db.ports,
      rollout: { percent: 10, newlyDeniedMax: '1%' },
      allow: [{ name: 'read', from: ['n/web'], scopes: ['a:read'] }],
    },
    others: [] as string[],
  };
}

type Base = ReturnType<typeof base>;

function manifestsOf({ cell, name, web, db, candidate, others }: Base) {
  const policy = (service: string, spec: object) => ({
    apiVersion,
    kind: 'ServicePolicy',
    metadata: { name: service, namespace: 'n' },
    spec,
  });
  const documents = [
    { apiVersion, kind: 'Cell', metadata: { name: 'cell-1' }, spec: cell },
    policy(name, web),
    policy('db', db),
    policy('db', candidate),
    ...others.map((other) =>
      policy(other, { serviceAccount: other, mode: 'audit', ports: [{ port: 80, protocol: 'tcp' }] }),
    ),
  ];
  // YAML takes JSON.
  return readManifests(new Map([['m.yaml', documents.map((one) => JSON.stringify(one)).join('\n---\n')]]));
}

const rule = (docs: Base, at: number) => docs.db.allow[at] as Record<string, never> & { http: Record<string, unknown> };
const call = (docs: Base) => docs.web.calls[0] as Record<string, unknown>;

/** Each a change by itself: where it is seen, what it is called, what it does. */
const edits: readonly (readonly [string, string, Effect, (docs: Base) => unknown])[] = [
  ['cell', 'token issuer', 'different', ({ cell }) => (cell.tokenIssuer = 'https://j')],
  ['cell', 'domain', 'different', ({ cell }) => (cell.domain = 'other')],
  ['cell', 'scope', 'same', ({ cell }) => (cell.scopes['a:new'] = 'New.')],
  ['cell', 'scope a:read', 'same', ({ cell }) => (cell.scopes['a:read'] = 'Read all of a.')],
  ['cell', 'ceiling of n/* -> any', 'narrower', ({ cell }) => cell.ceiling[0]!.scopes.pop()],
  [
    'cell',
    'ceiling of router -> any',
    'narrower',
    ({ cell }) => cell.ceiling.push({ from: 'router', to: 'any', scopes: [] }),
  ],
  ['n/web', 'exposure', 'wider', ({ web }) => web.expose.push({ hosts: ['y.example'], paths: ['/y'], auth: 'none' })],
  ['n/web', 'mode', 'wider', ({ web }) => (web.mode = 'audit')],
  ['n/web', 'call to n/db/carry', 'wider', (docs) => delete call(docs)['carry']],
  ['n/web', 'call to n/db/own', 'narrower', (docs) => (call(docs)['own'] = [])],
  ['n/web', 'call to n/db/token', 'narrower', (docs) => (call(docs)['token'] = 'none')],
  ['n/web', 'call to n/db/listen', 'different', (docs) => (call(docs)['listen'] = '127.0.0.1:9000')],
  [
    'n/web',
    'call to n/db/time-outs and retries',
    'different',
    (docs) => (call(docs)['retries'] = { attempts: 2, retryOn: ['reset'] }),
  ],
  ['n/db', 'host', 'wider', ({ db }) => db.hosts.push('database')],
  [
    'n/db',
    'port',
    'wider',
    (docs) => {
      docs.db.ports.push({ port: 82, protocol: 'tcp' });
    },
  ],
  ['n/db', 'rule read/from', 'wider', (docs) => (rule(docs, 0)['from'] = ['n/web', 'n/cron'] as never)],
  ['n/db', 'rule read/port', 'wider', (docs) => delete rule(docs, 0)['port']],
  ['n/db', 'rule read/methods', 'wider', (docs) => (rule(docs, 0).http['methods'] = ['GET', 'HEAD'])],
  ['n/db', 'rule read/paths', 'narrower', (docs) => (rule(docs, 0).http['paths'] = ['/a/b', '/a/c'])],
  ['n/db', 'rule read/scopes', 'different', (docs) => (rule(docs, 0)['scopes'] = ['a:write'] as never)],
  ['n/db', 'rule read/sensitive', 'narrower', (docs) => (rule(docs, 0)['sensitive'] = true as never)],
  ['n/db', 'rule write/anyScope', 'narrower', (docs) => (rule(docs, 1)['anyScope'] = ['a:read'] as never)],
  ['n/db', 'rule write/account', 'narrower', (docs) => (rule(docs, 1)['account'] = 'required' as never)],
  ['n/db', 'rule bot/actor', 'wider', (docs) => (rule(docs, 2)['actor'] = 'required' as never)],
  [
    'n/db',
    'rule bot/claims',
    'narrower',
    (docs) => (rule(docs, 2)['claims'] = [{ claim: 'sub', equals: 'x' }] as never),
  ],
  ['n/db', 'rule bot/until', 'wider', (docs) => delete rule(docs, 2)['until']],
  [
    'n/db',
    'rule often/limits',
    'wider',
    (docs) => (rule(docs, 3)['limits'] = [{ per: 'peer', perSecond: 6, burst: 9 }] as never),
  ],
  ['n/db', 'rule new', 'wider', ({ db }) => db.allow.push({ name: 'new', from: ['n/cron'] })],
  ['n/db (candidate)', 'rollout', 'different', ({ candidate }) => (candidate.rollout.percent = 50)],
  ['n/db (candidate)', 'rule read/scopes', 'wider', ({ candidate }) => (candidate.allow[0]!.scopes = [])],
  ['n/more', 'service', 'wider', ({ others }) => others.push('more')],
];

function flat(changes: readonly Change[], prefix = ''): string[] {
  return changes.flatMap(({ what, effect, fields }) =>
    fields === undefined ? [`${prefix}${what} ${effect}`] : flat(fields, `${prefix}${what}/`),
  );
}

function said(before: Base, after: Base): string[] {
  return diff(manifestsOf(before), manifestsOf(after))
    .flatMap(({ subject, changes }) => flat(changes).map((change) => `${subject}: ${change}`))
    .sort();
}

const opposite = { wider: 'narrower', narrower: 'wider', different: 'different', same: 'same' } as const;

describe('the difference of two sets of manifests', () => {
  test('is nothing for one that says the same', () => {
    assert.deepEqual(said(base(), base()), []);
    const reordered = base();
    reordered.db.allow[1]!['from'] = ['spiffe://cell-1.example/ns/n/sa/jobs', 'n/web'];
    assert.deepEqual(said(base(), reordered), []);
    assert.equal(diffText([]), 'no difference');
  });

  test('has every change, and no other; backwards it is the opposite', () => {
    fc.assert(
      fc.property(fc.subarray([...edits]), (chosen) => {
        const after = base();
        for (const [, , , edit] of chosen) edit(after);
        assert.deepEqual(
          said(base(), after),
          chosen.map(([subject, what, effect]) => `${subject}: ${what} ${effect}`).sort(),
        );
        const backwards = chosen.map(([subject, what, effect]) => `${subject}: ${what} ${opposite[effect]}`);
        assert.deepEqual(said(after, base()), backwards.sort());
      }),
      { numRuns: 300 },
    );
  });

  for (const [subject, what, effect, edit] of edits) {
    test(`says of ${subject} ${what}: ${effect}`, () => {
      const after = base();
      edit(after);
      assert.deepEqual(said(base(), after), [`${subject}: ${what} ${effect}`]);
    });
  }

  test('of a rule has one word for all its fields', () => {
    const after = base();
    rule(after, 0).http['methods'] = ['GET', 'HEAD'];
    rule(after, 0)['scopes'] = ['a:read', 'a:write'] as never;
    rule(after, 2)['actor'] = 'required' as never;
    rule(after, 2)['until'] = '2027-01-02T00:00:00Z' as never;
    const [found] = diff(manifestsOf(base()), manifestsOf(after));
    assert.deepEqual(
      found!.changes.map(({ what, effect }) => `${what} ${effect}`),
      ['rule read different', 'rule bot wider'],
    );
  });

  test('knows a rule that got another name, and another place', () => {
    const after = base();
    const [read, ...rest] = after.db.allow;
    after.db.allow = [...rest, { ...read, name: 'get' }];
    assert.deepEqual(said(base(), after), ['n/db: rule get same', 'n/db: rule read same']);
    const moved = base();
    moved.db.allow.reverse();
    assert.deepEqual(said(base(), moved), ['n/db: order of rules different']);
  });

  test('reads as text', () => {
    const after = base();
    for (const [subject, what, , edit] of edits)
      if (['rule read/paths', 'rule new', 'call to n/db/carry', 'service'].includes(what) && subject !== 'cell')
        edit(after);
    assert.equal(
      diffText(diff(manifestsOf(base()), manifestsOf(after))),
      `n/db
  rule read: narrower
    paths: /a/* -> /a/b, /a/c (narrower)
  rule new added: from n/cron (wider)

n/more
  service added: audit, ports 80 tcp, rules none (wider)

n/web
  call to n/db: wider
    carry: a:read -> all that is left (wider)

4 changes: 3 wider, 1 narrower`,
    );
  });
});

describe('rules that the difference calls wider', () => {
  const fields = [
    'ids',
    'idPatterns',
    'port',
    'methods',
    'paths',
    'scopes',
    'anyScope',
    'account',
    'actor',
    'claims',
    'untilMs',
    'isAnyAllowed',
    'isRouterAllowed',
  ] as const;
  /** Some fields of some rules as in others. */
  const pairs = fc.tuple(
    snapshotOf(rules(4)),
    rules(4),
    fc.uniqueArray(fc.constantFrom(...fields), { minLength: 1, maxLength: 2 }),
  );
  const mixed = (old: readonly SnapshotRule[], others: readonly SnapshotRule[], chosen: readonly string[]) =>
    old.map((one, at): SnapshotRule => {
      const other = others[at] as unknown as Record<string, unknown> | undefined;
      if (other === undefined) return one;
      const merged = { ...one, ...Object.fromEntries(chosen.map((field) => [field, other[field]])) };
      return Object.fromEntries(
        Object.entries(merged).filter(([, value]) => value !== undefined),
      ) as unknown as SnapshotRule;
    });

  test('allow all that was allowed, and narrower ones nothing more', () => {
    const counts = { wider: 0, narrower: 0, permits: 0 };
    fc.assert(
      fc.property(pairs, request, ([before, others, chosen], asked) => {
        const after = { ...before, rules: mixed(before.rules, others, chosen) };
        const effects = new Set(ruleChanges(before, after).map(({ effect }) => effect));
        const [was, is] = [before, after].map((one) => new InboundPolicy(one).decide(asked).outcome);
        if (effects.size > 0 && effects.isSubsetOf(new Set(['wider', 'same']))) {
          counts.wider++;
          if (was === 'permit') {
            counts.permits++;
            assert.equal(is, 'permit');
          }
        }
        if (effects.size > 0 && effects.isSubsetOf(new Set(['narrower', 'same']))) {
          counts.narrower++;
          if (is === 'permit') assert.equal(was, 'permit');
        }
        if (effects.size === 0) assert.equal(is, was);
      }),
      { numRuns: 8_000 },
    );
    assert.ok(counts.wider > 400 && counts.narrower > 400 && counts.permits > 40, JSON.stringify(counts));
  });
});
