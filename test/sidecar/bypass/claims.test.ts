import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { startMesh } from '../../support/start-mesh.ts';

/**
 * PAINS.md P15: claims that others could not match, or matched by mistake: nested arrays (istio#21340), keys with dots (google/jwt_verify_lib#104),
 * texts of words (istio#44355). What the rule asks for is what was verified, and nothing that only looks like it.
 */
const cases: readonly {
  readonly name: string;
  readonly condition: string;
  readonly good: readonly Record<string, unknown>[];
  readonly bad: readonly Record<string, unknown>[];
}[] = [
  {
    name: 'istio#21340: an array in an object is read as a list, an array in an array is not',
    condition: '{ pointer: /realm_access/roles, as: list, equals: admin }',
    good: [{ realm_access: { roles: ['user', 'admin'] } }],
    bad: [
      { realm_access: { roles: [['admin']] } },
      { realm_access: { roles: 'admin' } },
      { realm_access: { roles: ['administrator', 'Admin', ' admin'] } },
      { realm_access: [{ roles: ['admin'] }] },
      { 'realm_access.roles': ['admin'], 'realm_access/roles': ['admin'] },
    ],
  },
  {
    name: 'google/jwt_verify_lib#104: a key with dots is one key, and a key with a slash is escaped',
    condition: '{ pointer: /kubernetes.io/serviceaccount~1name, equals: builder }',
    good: [{ 'kubernetes.io': { 'serviceaccount/name': 'builder' } }],
    bad: [
      { kubernetes: { io: { 'serviceaccount/name': 'builder' } } },
      { 'kubernetes.io': { serviceaccount: { name: 'builder' } } },
      { 'kubernetes.io/serviceaccount/name': 'builder' },
    ],
  },
  {
    name: 'istio#44355: words are whole, and divided by single spaces',
    condition: '{ pointer: /groups, as: words, in: [ops, dev] }',
    good: [{ groups: 'all ops' }, { groups: 'dev' }],
    bad: [{ groups: 'devops' }, { groups: 'ops,dev' }, { groups: ['ops'] }, { groups: 'OPS' }, { groups: 'x\tops' }],
  },
  {
    name: 'a value is of its JSON type',
    condition: '{ pointer: /level, equals: 3 }',
    good: [{ level: 3 }],
    bad: [{ level: '3' }, { level: [3] }, { level: { valueOf: 3 } }, { level: 3.5 }, { level: true }],
  },
  {
    name: 'what every object inherits is no claim',
    condition: '{ pointer: /constructor, exists: true }',
    good: [{ constructor: 'a claim' }],
    bad: [{}, { constructor: null }],
  },
  {
    name: 'the absence of a claim is not claimed by leaving the token out',
    condition: '{ pointer: /suspended, exists: false }',
    good: [{}, { suspended: null }],
    bad: [{ suspended: true }, { suspended: false }, { suspended: '' }],
  },
];

describe('PAINS P15, claims', () => {
  for (const { name, condition, good, bad } of cases) {
    test(name, async () => {
      await using mesh = await startMesh({
        editManifests: (text) =>
          text.replace('{ name: read, from: [router], ', `{ name: read, from: [router], claims: [${condition}], `),
      });
      const { records, application } = mesh.services.api;
      const ask = async (token?: string) => {
        const before = application.received.length;
        const response = await mesh.callAsRouter(token === undefined ? {} : { token });
        const record = await eventually(() => {
          const found = records.find(({ id }) => id === response.headers['cellmesh-decision']);
          assert.ok(found !== undefined);
          return found;
        });
        assert.equal(application.received.length - before, response.status === 200 ? 1 : 0);
        return `${response.status} ${record.reason ?? record.rule}`;
      };
      for (const claims of good)
        assert.equal(await ask(await mesh.mint({ claims })), '200 read', JSON.stringify(claims));
      for (const claims of bad)
        assert.equal(await ask(await mesh.mint({ claims })), '403 claim_not_allowed', JSON.stringify(claims));
      assert.match(await ask(), /^401 token_missing$/);
    });
  }
});
