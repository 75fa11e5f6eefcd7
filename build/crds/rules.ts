import { unmeshed } from '#policy/peer-pattern.ts';
import { idempotentMethods } from '#runtime/idempotent-methods.ts';
import { scopeBytesMax, scopePattern } from '#tokens/scope.ts';
import type { Additions, StructuralSchema, Validation } from './structural-schema.ts';

/*
 * What must hold beside the shapes, in the words of the reader (`checkWithin` of policy/manifest.ts). An API server refuses a definition whose
 * conditions could cost too much by the bounds of the fields, and an object on which one does.
 */

/** A list whose items have a name: two managers may own an item each, and no name stands twice. */
const byName = (key: string): StructuralSchema => ({
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': [key],
});
const holds = (...validations: readonly Validation[]): StructuralSchema => ({
  'x-kubernetes-validations': validations,
});

/** For `.allow` of a spec: `condition` of every `rule`, beside the numbers of those `ports` that are meant. They are put together once: asked of each of 10,000 rules, 64 ports cost too much. */
function ofEveryRule(ports: string, condition: string, message: string): Validation {
  const rule = `!has(self.allow) || [${ports}.map(one, one.port)].all(ports, self.allow.all(rule, ${condition}))`;
  return { rule, message, fieldPath: '.allow' };
}

const spec = holds(
  ofEveryRule('self.ports', '!has(rule.port) || rule.port in ports', '`port` of a rule is not one of `ports`'),
  ofEveryRule(
    "self.ports.filter(one, one.protocol == 'grpc')",
    '!has(rule.grpc) || (has(rule.port) ? rule.port in ports : ports.size() == 1)',
    '`grpc` of a rule is for a port with `protocol: grpc`, and `port` says which of several',
  ),
  ofEveryRule(
    "self.ports.filter(one, one.protocol == 'tcp')",
    '!has(rule.port) || !has(rule.http) || !(has(rule.http.methods) || has(rule.http.paths)) || !(rule.port in ports)',
    'a port that is tcp has neither methods nor paths',
  ),
  {
    rule: "!has(self.expose) || self.expose.size() == 0 || self.ports[0].protocol != 'tcp'",
    message: '`expose` sends to the first of `ports`, which is tcp: routers speak HTTP',
    fieldPath: '.expose',
  },
);

/** Without CEL: to look for a word in a thousand entries of 10,000 rules is over its budget. */
const unmeshedRule: StructuralSchema = {
  anyOf: [
    { properties: { from: { items: { not: { enum: [unmeshed] } } } } },
    {
      required: ['account'],
      properties: {
        account: { enum: ['none'] },
        scopes: { maxItems: 0 },
        claims: { maxItems: 0 },
        sensitive: { enum: [false] },
      },
      not: { anyOf: [{ required: ['anyScope'] }, { required: ['actor'] }] },
    },
  ],
};

const rule = holds(
  {
    rule: '!(has(self.http) && has(self.grpc))',
    message: 'a rule is about `http` or about `grpc`, not both',
  },
  {
    rule: "!has(self.limits) || !has(self.account) || self.account != 'none' || !self.limits.exists(limit, limit.per == 'account')",
    message: 'a limit `per: account` needs `account: required`: without a customer there is nothing to count by',
    fieldPath: '.limits',
  },
);

const inbound = holds(
  {
    rule: "self.mode == 'strict' || has(self.until)",
    message: '`observe-plaintext` ends some day: say `until` when',
  },
  {
    rule: "self.mode != 'strict' || !has(self.until)",
    message: '`until` is of `observe-plaintext`',
    fieldPath: '.until',
  },
);

const claim: StructuralSchema = {
  ...holds(
    {
      rule: 'has(self.claim) != has(self.pointer)',
      message: 'a condition is about either a `claim` or a `pointer`',
    },
    {
      rule: '!(has(self.exists) && has(self.__as__))',
      message: '`exists` is not read `as` anything',
      fieldPath: '.as',
    },
  ),
  // Values of several types are out of CEL's sight.
  oneOf: ['equals', 'in', 'exists'].map((test) => ({ required: [test] })),
};

const time = holds({
  rule: "duration(self) >= duration('1ms') && duration(self) <= duration('1h')",
  message: 'a duration is from 1ms to 1h; write 500ms, 30s or 5m',
});
const times = (at: string, ...names: readonly string[]): Additions =>
  Object.fromEntries(names.map((name) => [`${at}.${name}`, time]));

/** Without CEL: a hundred routes of a thousand calls with 32 methods each are over its budget. */
const route: StructuralSchema = {
  anyOf: [
    { not: { required: ['retries'] } },
    { properties: { http: { properties: { methods: { items: { enum: [...idempotentMethods] } } } } } },
  ],
};

export const policyRules: Additions = {
  spec,
  'spec.ports': byName('port'),
  'spec.inbound': inbound,
  'spec.inbound.until': { format: 'date-time' },
  'spec.allow': byName('name'),
  'spec.allow[]': { ...unmeshedRule, ...rule },
  'spec.allow[].claims[]': claim,
  'spec.allow[].until': { format: 'date-time' },
  'spec.allow[].limits[].perSecond': holds({
    // To a whole number the API server compares the whole part of a minimum.
    rule: 'self >= 0.001',
    message: 'a number from 0.001 to 1000000 is expected',
  }),
  'spec.calls': byName('to'),
  'spec.calls[].listen': holds({
    rule: "int(self.substring(self.lastIndexOf(':') + 1)) <= 65535",
    message: 'a port is at most 65535',
  }),
  ...times('spec.calls[].timeouts', 'connect', 'head', 'idle', 'total'),
  ...times('spec.calls[].routes[].timeouts', 'head', 'idle', 'total'),
  'spec.calls[].routes[]': route,
};

const cellSpec = holds({
  rule: "!has(self.federation) || self.federation.all(other, other.trustDomain != self.trustDomain && other.trustDomain != self.domain && !other.trustDomain.endsWith('.' + self.domain))",
  message: 'federation is for others than the platform: a cell trusts no other cell',
  fieldPath: '.federation',
});

export const cellRules: Additions = {
  spec: cellSpec,
  'spec.federation': byName('trustDomain'),
  ...times('spec.defaults.timeouts', 'connect', 'head', 'idle', 'total'),
  'spec.trustDomain': holds({
    rule: 'self == oldSelf',
    message: 'identities and tokens name the trust domain: it cannot change',
  }),
  'spec.scopes': holds({
    rule: `self.all(scope, scope.size() <= ${scopeBytesMax} && scope.matches('${scopePattern.source}'))`,
    message: `a scope is written resource:action, in lower case, with at most ${scopeBytesMax} characters`,
  }),
};
