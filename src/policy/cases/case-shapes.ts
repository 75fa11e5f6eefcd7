import { parseSpiffeId, type SpiffeId } from '#certs/spiffe-id.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { conditions } from '../decide.ts';
import { apiVersion } from '../manifest-shapes.ts';
import { unmeshed } from '../peer-pattern.ts';
import { type Reason, reasonsOfRules } from '../reasons.ts';
import {
  host,
  method,
  name,
  parseWorkloadName,
  portNumber,
  scopes,
  shapeError,
  spiffeIdPattern,
  workloadPattern,
} from '../rule-shapes.ts';
import {
  checked,
  flag,
  list,
  located,
  matching,
  moment,
  object,
  oneOf,
  optional,
  parsed,
  required,
  type ShapeValue,
  text,
} from '../shapes.ts';
import type { WorkloadName } from '../workload-name.ts';
import { jsonObject } from './json-shape.ts';

/** Who makes the request of a case. */
export type Caller =
  | { readonly kind: 'router' }
  | { readonly kind: 'unmeshed' }
  | { readonly kind: 'workload'; readonly workload: WorkloadName }
  | { readonly kind: 'id'; readonly id: SpiffeId };

/** What a case can come to, without a clock that runs, a connection or a key. */
const expectedReasons = [
  'route_unknown',
  'credentials_missing',
  'not_declared',
  'context_missing',
  'account_mismatch',
  'account_not_expected',
  'protocol_mismatch',
  ...reasonsOfRules,
  'path_not_absolute',
  'path_character',
  'path_percent',
  'path_encoded_separator',
  'path_dot_segment',
  'path_empty_segment',
  'path_parameter',
] as const satisfies readonly Reason[];

const grpcMethod = /^([A-Za-z_]\w*\.)*[A-Za-z_]\w*\/[A-Za-z_]\w*$/;
/** What fields of their own say. */
const ownClaims = ['account', 'act', 'cell_id', 'client_id', 'iss', 'scope', 'sub'];
const casesMax = 10_000;
const hopsMax = 16;

const account = parsed(parseAccountId, 'an account', { pattern: '^AC[0-9a-f]{32}$' });
const spiffe = parsed(parseSpiffeId, 'a SPIFFE ID', { pattern: spiffeIdPattern });

const token = checked(
  object({
    scopes: required(scopes, 'Scopes that the token grants.'),
    left: optional(scopes, 'Scopes that the hops before have left; without it all of the token.'),
    account: optional(account, 'The customer; without it some customer.'),
    sub: optional(text({ max: 2048, what: 'a subject' }), 'On whose behalf; without it the account.'),
    act: optional(
      object({ sub: required(text({ max: 2048, what: 'a subject' }), 'The outermost actor.') }),
      'Who acts for the subject (RFC 8693 4.1).',
    ),
    client_id: optional(spiffe, 'The router that minted it; without it the one that calls, or some router.'),
    claims: optional(jsonObject, 'What else the token says.'),
  }),
  ({ claims = {} }) => {
    const claim = ownClaims.find((one) => Object.hasOwn(claims, one));
    return claim === undefined
      ? undefined
      : `\`claims\` cannot say \`${claim}\`: the cell says it, or a field of its own`;
  },
);

const from = parsed(parseCaller, 'a caller', {
  anyOf: [{ enum: ['router', unmeshed] }, { pattern: workloadPattern }, { pattern: spiffeIdPattern }],
});
const fromDescription =
  'Who calls: namespace/service-account, `router`, `unmeshed` (without TLS), or the SPIFFE ID of a workload or router.';

const requestFields = {
  to: required(
    parsed((written) => parseWorkloadName(written, 'namespace/service-account'), 'a callee', {
      pattern: workloadPattern,
    }),
    'Who is called, as namespace/service-account.',
  ),
  port: optional(portNumber, 'One of its `ports`; without it the first, for gRPC and TCP the first of that protocol.'),
  host: optional(host, "From a router: the host of the customer's request; without it any that is exposed."),
  method: optional(method, 'The method, with `path`.'),
  path: optional(text({ max: 2048, what: 'a path' }), 'The path as it is sent, with `method`.'),
  grpc: optional(matching(grpcMethod, 'method of gRPC'), 'In place of `method` and `path`: package.Service/Method.'),
  tcp: optional(flag, 'In place of `method` and `path`: a connection to a port of TCP.'),
  token: optional(token, 'The customer on whose behalf it is; without it there is none.'),
  as: optional(oneOf('self'), 'The workload calls for itself (`cellmesh-as: self`).'),
  expectAccount: optional(account, 'Whose data the caller says it means (`cellmesh-expect-account`).'),
  time: optional(moment, 'When it is, in UTC; without it when the case is run.'),
};

const wholeRequest = object({ from: required(from, fromDescription), ...requestFields });
const nextRequest = object({ from: optional(from, fromDescription), ...requestFields });

/** A request as it is written: in cases, and for `cellmesh policy explain`. */
export type WrittenRequest = ShapeValue<typeof wholeRequest>;
/** A request that another one causes. */
export type NextRequest = ShapeValue<typeof nextRequest>;

export const request = checked(wholeRequest, whatIsAsked);
const hopRequest = checked(nextRequest, whatIsAsked);

const expectation = checked(
  object({
    allow: optional(name, 'The rule that allows it.'),
    deny: optional(oneOf(...expectedReasons), 'Why it is refused.'),
    audit: optional(oneOf(...expectedReasons), 'It is let through by `mode: audit`; why it would be refused.'),
    by: optional(
      oneOf('caller', 'callee'),
      "Whose side refuses it: the caller's sidecar (or the router), or the callee's.",
    ),
    rule: optional(name, 'The nearest rule.'),
    condition: optional(oneOf(...conditions, 'rule', 'call', 'context'), 'The first of its conditions that fails.'),
    left: optional(scopes, 'Scopes that are left when it is allowed, for calls that follow.'),
  }),
  ({ allow, deny, audit, by, rule, condition, left }) => {
    if ([allow, deny, audit].filter((one) => one !== undefined).length !== 1)
      return 'one of `allow`, `deny` and `audit` is expected';
    if (allow !== undefined && (by ?? rule ?? condition) !== undefined)
      return '`by`, `rule` and `condition` are of requests that rules refuse';
    return deny !== undefined && left !== undefined ? 'nothing is left of a request that is refused' : undefined;
  },
);

export type Expectation = ShapeValue<typeof expectation>;

const hop = object({
  request: required(
    located(hopRequest),
    'The request; without `from` the callee before makes it, for the same customer.',
  ),
  expect: required(located(expectation), 'What is decided.'),
});

const testCase = checked(
  object({
    name: required(text({ max: 200, what: 'a name' }), 'What is shown for it; no second case of the file has it.'),
    request: optional(located(request), 'The request.'),
    expect: optional(located(expectation), 'What is decided.'),
    hops: optional(
      list(hop, { min: 2, max: hopsMax }),
      'In place of `request` and `expect`: requests that cause one another, each with what is left by the one before.',
    ),
  }),
  ({ request, expect, hops }) => {
    if (hops === undefined) return request && expect ? undefined : 'a case has `request` and `expect`, or `hops`';
    if (request !== undefined || expect !== undefined) return 'a case has `request` and `expect`, or `hops`';
    return hopsProblem(hops);
  },
);

export const policyTest = object({
  apiVersion: required(oneOf(apiVersion), 'Version of this format.'),
  kind: required(oneOf('PolicyTest'), 'What the manifests beside it are meant to allow and to refuse.'),
  metadata: required(object({ name: required(name, 'What the test is called.') }), 'What the test is called.'),
  spec: required(
    object({ cases: required(list(located(testCase), { min: 1, max: casesMax }), 'The cases.') }),
    'The test itself.',
  ),
});

export type WrittenCase = ShapeValue<typeof testCase>;

function whatIsAsked({
  method,
  path,
  grpc,
  tcp,
  token,
  host,
  from,
  as,
  expectAccount,
}: NextRequest): string | undefined {
  const isHttp = method !== undefined && path !== undefined;
  if ((method === undefined) !== (path === undefined) || [isHttp, grpc !== undefined, tcp].filter(Boolean).length !== 1)
    return 'a request has `method` and `path`, or `grpc`, or `tcp: true`';
  if (tcp && token !== undefined) return 'a connection brings no customer along';
  if (from?.kind === 'unmeshed' && (token ?? as ?? expectAccount ?? host) !== undefined)
    return 'without TLS a caller is believed nothing: `token`, `as`, `expectAccount` and `host` are of others';
  if (from?.kind === 'router' && token?.left !== undefined) return 'from a router all of the token is left';
  return host !== undefined && from?.kind === 'workload' ? '`host` is of requests from a router' : undefined;
}

function hopsProblem(hops: readonly ShapeValue<typeof hop>[]): string | undefined {
  const [first, ...others] = hops;
  if (first!.request.value.from === undefined) return 'the first of `hops` says `from` whom it comes';
  if (others.some(({ request: { value } }) => [value.from, value.token, value.time].some((one) => one !== undefined)))
    return '`from`, `token` and `time` are those of the hop before; only the first of `hops` has them';
  if (hops.slice(0, -1).some(({ expect }) => expect.value.deny !== undefined))
    return 'nothing follows a hop that is refused';
  return undefined;
}

function parseCaller(written: string): Caller {
  if (written === 'router' || written === unmeshed) return { kind: written };
  if (written.includes('*')) throw shapeError('a request comes from one caller; write its SPIFFE ID without `*`');
  if (written.startsWith('spiffe://')) return { kind: 'id', id: parseSpiffeId(written) };
  return {
    kind: 'workload',
    workload: parseWorkloadName(written, 'namespace/service-account, a SPIFFE ID, `router` or `unmeshed`'),
  };
}
