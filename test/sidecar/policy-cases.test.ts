import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callOf } from '#policy/cases/call.ts';
import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { decideCall } from '#policy/cases/decide-call.ts';
import { readRequest } from '#policy/cases/read-request.ts';
import { explainDecision } from '#policy/explain/explain-decision.ts';
import { readYamlFiles } from '#runtime/yaml-files.ts';
import type { HttpResponse } from '../support/application.ts';
import { type Cell, startCell } from '../support/start-cell.ts';

let cell: Cell;
let policies: CellAtHand;
before(async () => {
  cell = await startCell();
  policies = CellAtHand.read(await readYamlFiles(cell.manifestsDir));
});
after(() => cell[Symbol.asyncDispose]());

const account = 'AC0123456789abcdef0123456789abcdef';

/** A customer's request through the router, as its sidecar sees it. */
async function fromRouter(method: string, path: string, scope: string): Promise<HttpResponse> {
  return cell.callAsRouter({ method, path, token: await cell.mint({ scope }) });
}

/** A call of the application behind `api`, for a customer whose request it is serving, or for nobody. */
async function fromApi(
  method: string,
  path: string,
  { scope, to = 'messaging', ...headers }: Record<string, string>,
): Promise<HttpResponse> {
  const call = {
    authority: to === 'delivery' ? `delivery:${cell.services.delivery.application.port}` : to,
    method,
    path,
  };
  if (scope === undefined) return cell.services.api.call({ ...call, headers });
  assert.equal((await fromRouter('GET', '/v1/local', `${scope} messages:read`.trim())).status, 200);
  const context = String(cell.services.api.application.received.at(-1)!.headers['cellmesh-context']);
  return cell.services.api.call({ ...call, headers: { 'cellmesh-context': context, ...headers } });
}

const toApi = 'from: router, to: messaging/api';
const toMessaging = 'from: messaging/api, to: messaging/messaging';
const read = `account: ${account}, scopes: [messages:read]`;
const cases: readonly (readonly [request: string, make: () => Promise<HttpResponse>])[] = [
  [`${toApi}, method: GET, path: /v1/local, token: { ${read} }`, () => fromRouter('GET', '/v1/local', 'messages:read')],
  [
    `${toApi}, method: POST, path: /v1/local, token: { ${read} }`,
    () => fromRouter('POST', '/v1/local', 'messages:read'),
  ],
  [`${toApi}, method: PUT, path: /v1/local, token: { ${read} }`, () => fromRouter('PUT', '/v1/local', 'messages:read')],
  [
    `${toMessaging}, method: GET, path: /v1/messages, token: { ${read} }`,
    () => fromApi('GET', '/v1/messages', { scope: '' }),
  ],
  [
    `${toMessaging}, method: POST, path: /v1/bill, token: { account: ${account}, scopes: [billing:write, messages:read] }`,
    () => fromApi('POST', '/v1/bill', { scope: 'billing:write' }),
  ],
  [`${toMessaging}, method: GET, path: /v1/messages`, () => fromApi('GET', '/v1/messages', {})],
  [
    `${toMessaging}, method: POST, path: /v1/expire, as: self`,
    () => fromApi('POST', '/v1/expire', { 'cellmesh-as': 'self' }),
  ],
  [
    `${toMessaging}, method: GET, path: /v1/messages, as: self`,
    () => fromApi('GET', '/v1/messages', { 'cellmesh-as': 'self' }),
  ],
  [
    `${toMessaging}, method: GET, path: /v1/export, token: { ${read} }`,
    () => fromApi('GET', '/v1/export', { scope: '' }),
  ],
  [
    `${toMessaging}, method: GET, path: /v1/export, expectAccount: ${account}, token: { ${read} }`,
    () => fromApi('GET', '/v1/export', { scope: '', 'cellmesh-expect-account': account }),
  ],
  [
    `${toMessaging}, method: GET, path: /v1/messages, expectAccount: AC${'1'.repeat(32)}, token: { ${read} }`,
    () => fromApi('GET', '/v1/messages', { scope: '', 'cellmesh-expect-account': `AC${'1'.repeat(32)}` }),
  ],
  [
    `from: messaging/api, to: messaging/delivery, method: GET, path: /v1/deliveries, token: { ${read} }`,
    () => fromApi('GET', '/v1/deliveries', { scope: '', to: 'delivery' }),
  ],
  [
    `${toMessaging}, method: GET, path: /v1//messages, token: { ${read} }`,
    () => fromApi('GET', '/v1//messages', { scope: '' }),
  ],
];

describe('a case is decided as sidecars decide, on the same side, with the same words; and its record is explained so', () => {
  for (const [written, make] of cases) {
    test(written, async () => {
      const response = await make();
      const record = await cell.findDecision(String(response.headers['cellmesh-decision']));
      const { request, problems } = readRequest(`{ ${written} }`, 'request');
      assert.deepEqual(problems, []);
      const decision = decideCall(policies, callOf(request!, policies, Date.parse(record.time)));
      const side = record.direction === 'outbound' ? 'caller' : 'callee';
      const { reason, rule, granted } = record;
      if (decision.outcome === 'allow') {
        assert.deepEqual(
          { outcome: 'permit', rule: decision.rule, granted: decision.granted.text },
          { outcome: record.outcome, rule, granted },
        );
      } else {
        assert.ok(decision.outcome === 'deny');
        const { denial } = decision;

        assert.deepEqual(
          { outcome: 'deny', by: decision.by, reason: denial.reason, failed: denial.failed },
          { outcome: record.outcome, by: side, reason, failed: record.failed },
        );
      }
      const { rules, notes, version } = explainDecision(record, policies);
      assert.equal(version, policies.version);
      if ('asked' in decision) {
        assert.equal(rules![0]!.rule, record.rule ?? record.failed!.rule);
        assert.deepEqual([rules![0]!.allows, notes], [record.outcome === 'permit', []]);
      }
    });
  }
});
