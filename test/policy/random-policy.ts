import fc from 'fast-check';
import { parseSpiffeId, parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import type { ClaimCondition } from '#policy/claim-condition.ts';
import { parseIdPattern } from '#policy/id-pattern.ts';
import { parsePathPattern } from '#policy/path-pattern.ts';
import { type Peer, unmeshed } from '#policy/peer-pattern.ts';
import type { InboundRequest } from '#policy/rule.ts';
import type { PolicySnapshot, SnapshotRule } from '#policy/snapshot.ts';
import { Secret } from '#runtime/secret.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import { parseScope, ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';

/** So few values of each kind that random rules and random requests meet. */
const trustDomain = parseTrustDomain('cell-1.example');
export const router = parseSpiffeId('spiffe://example/router/r1');
const peers: readonly SpiffeId[] = ['a', 'b', 'c'].map((name) => workloadId(trustDomain, 'ns', name));
const scopes = ['m:read', 'm:write', 'd:read'].map(parseScope);
const segments = ['v1', 'x', 'messages', ''];
const accounts = [1, 2, 3].map((digit) => parseAccountId(`AC${'0'.repeat(31)}${digit}`));
const plans = ['gold', 'free', 7, true];

/** Present or not. */
const maybe = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
const some = <T>(of: readonly T[]) => fc.uniqueArray(fc.constantFrom(...of), { maxLength: of.length });

const pathPattern = fc
  .tuple(fc.array(fc.constantFrom(...segments.slice(0, 3), '*'), { maxLength: 3 }), fc.constantFrom('', '/', '/**'))
  .map(([parts, end]) => parsePathPattern(`/${parts.join('/')}${parts.length === 0 ? end.slice(1) : end}`));

const plain = { noNullPrototype: true };
const claim: fc.Arbitrary<ClaimCondition> = fc.oneof(
  fc.record(
    { pointer: fc.constantFrom('/plan', '/a/b'), as: fc.constant('value' as const), exists: fc.boolean() },
    plain,
  ),
  fc.record(
    {
      pointer: fc.constantFrom('/plan', '/a/b', '/act/sub'),
      as: fc.constantFrom('value' as const, 'list' as const, 'words' as const),
      anyOf: fc.array(fc.constantFrom(...plans), { minLength: 1, maxLength: 2 }),
    },
    plain,
  ),
);

/** Most rules leave most fields out, or none would ever hold. */
const rarely = <T>(of: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: of });

const ruleFields = fc
  .record({
    port: rarely(fc.constantFrom(1, 2)),
    methods: rarely(fc.uniqueArray(fc.constantFrom('GET', 'POST'), { minLength: 1 })),
    paths: maybe(fc.array(pathPattern, { minLength: 1, maxLength: 3 })),
    anyScope: rarely(fc.uniqueArray(fc.constantFrom(...scopes), { minLength: 1 })),
    actor: rarely(fc.constantFrom('none' as const, 'required' as const, ['bot'] as const)),
    untilMs: rarely(fc.constantFrom(5, 20)),
  })
  .map(
    (fields) =>
      Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<SnapshotRule>,
  );

const rule: fc.Arbitrary<Omit<SnapshotRule, 'name'>> = fc
  .tuple(
    ruleFields,
    fc.record({
      ids: fc.oneof(some(peers), fc.constant(peers)),
      idPatterns: some(['spiffe://cell-1.example/ns/*/sa/a', 'spiffe://cell-1.example/**']).map((texts) =>
        texts.map(parseIdPattern),
      ),
      isRouterAllowed: fc.boolean(),
      isAnyAllowed: fc.boolean(),
      isUnmeshedAllowed: fc.boolean(),
      scopes: fc.uniqueArray(fc.constantFrom(...scopes), { maxLength: 1 }),
      account: fc.constantFrom('required' as const, 'none' as const, 'none' as const),
      claims: rarely(claim).map((one) => (one === undefined ? [] : [one])),
      sensitive: fc.constant(false),
    }),
  )
  .map(([optional, needed]) => ({ ...needed, ...optional, limits: [] }));

/** Rules by name: `r0`, `r1`, ... */
export const rules = (maxLength = 8): fc.Arbitrary<SnapshotRule[]> =>
  fc.array(rule, { maxLength }).map((list) => list.map((fields, at) => ({ name: `r${at}`, ...fields })));

const callers = some(peers).chain((ids) =>
  fc.tuple(
    ...ids.map((id) =>
      fc
        .record({ carry: maybe(some(scopes)), own: some(scopes) })
        .map(({ carry, own }) => ({ id, own, ...(carry && { carry }) })),
    ),
  ),
);

export const snapshotOf = (some: fc.Arbitrary<SnapshotRule[]>): fc.Arbitrary<PolicySnapshot> =>
  fc
    .record({ rules: some, callers, undeclared: fc.uniqueArray(fc.constantFrom(...peers), { maxLength: 1 }) })
    .map((parts) => ({
      version: 'v1',
      cell: { id: parseCellId('cell-1'), trustDomain, domain: parseTrustDomain('example'), tokenIssuer: 'https://i' },
      service: {
        id: workloadId(trustDomain, 'ns', 'service'),
        name: 'ns/service',
        hosts: ['service'],
        ports: [
          { port: 1, protocol: 'http' as const },
          { port: 2, protocol: 'http' as const },
        ],
      },
      mode: 'enforce' as 'audit' | 'enforce',
      // No request is made later.
      plaintextUntilMs: 1_000,
      calls: [],
      ...parts,
      undeclared: parts.undeclared.filter((id) => !parts.callers.some((caller) => caller.id === id)),
    }));

const token: fc.Arbitrary<VerifiedToken> = fc
  .record({
    scopes: some(scopes).map(ScopeSet.of),
    account: maybe(fc.constantFrom(...accounts)),
    actor: maybe(fc.constantFrom('bot', 'other')),
    plan: maybe(
      fc.oneof(
        fc.constantFrom<unknown>(...plans, null, 'gold free'),
        fc.array(fc.constantFrom(...plans), { maxLength: 2 }),
      ),
    ),
  })
  .map(({ scopes: held, account, actor, plan }) => ({
    kind: 'cell' as const,
    issuer: 'https://i',
    kid: 'k',
    subject: 's',
    audience: trustDomain,
    clientId: router,
    id: 'jti',
    issuedAt: 0,
    expiresAt: 1,
    scopes: held,
    ...(account && { account }),
    ...(actor && { actor }),
    claims: { ...(plan !== undefined && { plan, a: { b: plan } }), ...(actor && { act: { sub: actor } }) },
    text: new Secret('t'),
  }));

export const request: fc.Arbitrary<InboundRequest> = fc
  .record({
    peer: fc.constantFrom<Peer[]>(...peers, router, unmeshed),
    port: fc.constantFrom(1, 2, 3),
    method: fc.constantFrom('GET', 'POST', 'PUT'),
    path: fc
      .array(fc.constantFrom(...segments.slice(0, 3)), { maxLength: 4 })
      .chain((parts) =>
        fc
          .constantFrom('', '/')
          .map((end) => parseCanonicalPath(`/${parts.join('/')}${parts.length === 0 ? '' : end}`)),
      ),
    token: maybe(token),
    left: some(scopes).map(ScopeSet.of),
    nowMs: fc.constantFrom(0, 10, 30),
  })
  .map((fields) => ({
    ...fields,
    ...(fields.peer === unmeshed && { token: undefined }),
    isRouter: fields.peer === router,
    left: fields.peer === router || fields.peer === unmeshed ? undefined : fields.left,
  }));
