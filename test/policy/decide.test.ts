import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseSpiffeId, parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import { compileCell } from '#policy/compile.ts';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import { type CallContext, OutboundPolicy } from '#policy/decide-outbound.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { parseRoutes, serializeRoutes } from '#policy/routes.ts';
import type { InboundRequest } from '#policy/rule.ts';
import { parsePolicySnapshot, serializePolicySnapshot } from '#policy/snapshot.ts';
import { Secret } from '#runtime/secret.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { parseScopeList, ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';

const directory = join(import.meta.dirname, '../../examples/messaging/policy');
/** The example, with one route more that is sensitive. */
const manifests = readdirSync(directory).filter((file) => !file.endsWith('.test.yaml'));
const documents = manifests.map((file) =>
  readDocuments(
    readFileSync(join(directory, file), 'utf8').replace(
      'scopes: [deliveries:cancel]',
      'scopes: [deliveries:cancel]\n      sensitive: true',
    ),
    file,
  ),
);
const cell = documents.flatMap(({ cells }) => cells)[0]!;
const compiled = compileCell(
  cell,
  documents.flatMap(({ policies }) => policies),
);
const td = parseTrustDomain('cell-1.cellmesh.localhost');
const id = (account: string): SpiffeId => workloadId(td, 'messaging', account);
const inbound = (account: string) => new InboundPolicy(compiled.snapshots.get(id(account))!);
const outbound = (account: string) => new OutboundPolicy(compiled.snapshots.get(id(account))!);
const router = parseSpiffeId('spiffe://cellmesh.localhost/router/local/r1');
const ports = { api: 14_080, messaging: 14_180, delivery: 14_280 };
const account = parseAccountId('AC00000000000000000000000000000001');

function tokenOf(scopes: string): VerifiedToken {
  return {
    kind: 'cell',
    issuer: 'i',
    kid: 'k',
    subject: account,
    audience: td,
    clientId: router,
    id: 'jti',
    issuedAt: 0,
    expiresAt: 1,
    scopes: parseScopeList(scopes),
    account,
    claims: {},
    text: new Secret('t'),
  };
}

function request(changed: Partial<Omit<InboundRequest, 'path'>> & { path?: string } = {}): InboundRequest {
  const { path = '/deliveries', ...rest } = changed;
  return {
    peer: id('messaging'),
    isRouter: false,
    port: ports.delivery,
    method: 'POST',
    token: tokenOf('deliveries:create'),
    nowMs: 0,
    left: parseScopeList('deliveries:create'),
    ...rest,
    path: parseCanonicalPath(path),
  };
}

function reasonOf(service: keyof typeof ports, changed: Parameters<typeof request>[0]): string {
  const decision = inbound(service).decide(request({ port: ports[service], ...changed }));
  return decision.outcome === 'permit' ? `permit ${decision.rule}` : decision.reason;
}

test('a declared call with its scope in token, left and carry is permitted by its rule', () => {
  assert.equal(reasonOf('delivery', {}), 'permit create');
});

test('each condition that fails has its own reason, and names the nearest rule', () => {
  const cases: [string, Parameters<typeof request>[0], string][] = [
    ['no rule for the path', { path: '/nothing' }, 'route_not_allowed'],
    ['no rule for the method', { method: 'PUT' }, 'route_not_allowed'],
    ['a caller that the rule does not name', { peer: id('api') }, 'peer_not_allowed'],
    ['a router where only a service may call', { peer: router, isRouter: true, left: undefined }, 'peer_not_allowed'],
    ['no token', { token: undefined, left: undefined }, 'token_missing'],
    ['a token without the word of the hop before', { left: undefined }, 'hop_missing'],
    [
      'a scope that the token lacks',
      { token: tokenOf('messages:read'), left: parseScopeList('messages:read') },
      'scope_missing',
    ],
    ['a scope that an earlier hop left behind', { left: ScopeSet.empty }, 'scope_not_carried'],
    [
      'a scope that the caller may not carry',
      {
        method: 'DELETE',
        path: '/deliveries/1',
        token: tokenOf('deliveries:cancel'),
        left: parseScopeList('deliveries:cancel'),
      },
      'scope_not_carried',
    ],
    [
      'a call of the workload itself with its own scope',
      { method: 'GET', path: '/deliveries/1', token: undefined, left: undefined },
      'permit status',
    ],
  ];
  for (const [name, changed, expected] of cases) assert.equal(reasonOf('delivery', changed), expected, name);
  const denial = inbound('delivery').decide(request({ peer: id('api') }));
  assert.ok(denial.outcome === 'deny');
  assert.deepEqual(denial.failed, { rule: 'create', condition: 'peer', expected: id('messaging'), actual: id('api') });
});

test('a router brings all of the token, whatever it says is left', () => {
  const decision = inbound('api').decide(
    request({
      peer: router,
      isRouter: true,
      left: undefined,
      token: tokenOf('messages:write messages:read'),
      path: '/v1/messages',
    }),
  );
  assert.ok(decision.outcome === 'permit');
  assert.equal(decision.granted.text, 'messages:read messages:write');
});

test('what is granted is never more than token, left and carry', () => {
  const scopes = [...cell.scopes.keys()];
  const subset = fc.subarray(scopes).map((chosen) => ScopeSet.of(chosen));
  const policy = inbound('delivery');
  fc.assert(
    fc.property(subset, subset, (held, left) => {
      const token = { ...tokenOf(''), scopes: held };
      const decision = policy.decide(request({ token, left }));
      const allowed = held.intersect(left).intersect(parseScopeList('deliveries:create deliveries:read'));
      if (decision.outcome === 'permit') assert.ok(decision.granted.isSubsetOf(allowed));
      assert.equal(decision.outcome === 'permit', parseScopeList('deliveries:create').isSubsetOf(allowed));
    }),
  );
});

test('audit mode softens what rules say, a customer that one needs too, and nothing about the token or the hop before', () => {
  const audit = new InboundPolicy({ ...compiled.snapshots.get(id('delivery'))!, mode: 'audit' });
  const decision = audit.decide(request({ path: '/nothing' }));
  assert.ok(decision.outcome === 'permit');
  assert.equal(decision.audited?.reason, 'route_not_allowed');
  const without = audit.decide(request({ token: undefined, left: undefined }));
  assert.ok(without.outcome === 'permit');
  assert.equal(without.audited?.reason, 'token_missing');
  assert.equal(audit.decide(request({ left: undefined })).outcome, 'deny');
});

test('a caller whose manifest does not declare the call is refused, though the rule names it', () => {
  const text = readFileSync(join(directory, 'messaging.yaml'), 'utf8').replace(/ {2}calls:[\s\S]*/, '');
  const policies = [
    ...readDocuments(text, 'm.yaml').policies,
    ...documents.flatMap((d) => d.policies).filter((p) => p.name !== 'messaging'),
  ];
  const snapshot = compileCell(cell, policies).snapshots.get(id('delivery'))!;
  const decision = new InboundPolicy(snapshot).decide(request());
  assert.ok(decision.outcome === 'deny');
  assert.equal(decision.reason, 'peer_not_declared');
});

test('a snapshot and the routes come back the same from their JSON', () => {
  for (const snapshot of compiled.snapshots.values()) {
    assert.deepEqual(parsePolicySnapshot(serializePolicySnapshot(snapshot)), snapshot);
  }
  assert.deepEqual(parseRoutes(serializeRoutes(compiled.routes)), compiled.routes);
});

test('outbound: a call goes with the customer that the handle names, and with no more than carry', () => {
  const policy = outbound('messaging');
  const found: CallContext = {
    tag: 'found',
    token: tokenOf('deliveries:create messages:read'),
    left: parseScopeList('deliveries:create messages:read'),
  };
  const { call, port: entry } = policy.findCall('delivery', undefined)!;
  const { port } = entry;
  assert.equal(port, ports.delivery);
  const base = {
    call,
    port,
    method: 'POST',
    path: parseCanonicalPath('/deliveries'),
    isSelf: false,
    expectedAccount: undefined,
  };
  const decision = policy.decide({ ...base, context: found });
  assert.ok(decision.outcome === 'permit');
  assert.equal(decision.attach?.left.text, 'deliveries:create');
  const reason = (changed: object) => {
    const result = policy.decide({ ...base, context: found, ...changed });
    return result.outcome === 'permit' ? (result.attach === undefined ? 'permit self' : 'permit') : result.reason;
  };
  assert.equal(reason({ context: { tag: 'absent' } }), 'context_missing');
  assert.equal(reason({ context: { tag: 'absent' }, isSelf: true }), 'permit self');
  assert.equal(reason({ context: { tag: 'unknown' }, isSelf: true }), 'context_unknown');
  assert.equal(reason({ context: { tag: 'expired' } }), 'context_expired');
  assert.equal(reason({ expectedAccount: parseAccountId(`AC${'f'.repeat(32)}`) }), 'account_mismatch');
  assert.equal(reason({ expectedAccount: account }), 'permit');
  assert.equal(reason({ method: 'DELETE', path: parseCanonicalPath('/deliveries/1') }), 'account_not_expected');
  assert.equal(policy.findCall('api', undefined), undefined);
  assert.equal(policy.findCall('delivery', 9), undefined);
  assert.equal(policy.notDeclared('api').reason, 'not_declared');
});
