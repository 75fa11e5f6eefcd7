import { parseSpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { parseScope, scopeBytesMax, scopePattern } from '#tokens/scope.ts';
import { parsePointer, pointerPattern } from './claim-condition.ts';
import { isIdPattern, parseIdPattern } from './id-pattern.ts';
import { parsePathPattern, pathPatternPattern } from './path-pattern.ts';
import { type PeerPattern, unmeshed } from './peer-pattern.ts';
import {
  checked,
  dictionary,
  flag,
  integer,
  list,
  matching,
  moment,
  number,
  object,
  oneOf,
  optional,
  parsed,
  required,
  type ShapeValue,
  scalar,
  set,
  text,
  union,
} from './shapes.ts';
import type { WorkloadName } from './workload-name.ts';

/** What a rule looks like, and the words that other parts of manifests use too. */
const labelText = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
const label = new RegExp(`^${labelText}$`);
const hostPattern = new RegExp(`^${labelText}(\\.${labelText})*$`);
/** RFC 1035 3.1, without the last dot. */
const hostLengthMax = 253;
export const workloadPattern = `^${labelText}/${labelText}$`;
const workloadsPattern = `^${labelText}/(${labelText}|\\*)$`;
export const spiffeIdPattern = '^spiffe://[a-z0-9._-]+(/([A-Za-z0-9._-]+|\\*))*(/\\*\\*)?$';
const methodPattern = /^[A-Z][A-Z-]{0,31}$/;
const grpcMethodPattern = /^([A-Za-z_]\w*\.)*[A-Za-z_]\w*\/([A-Za-z_]\w*|\*)$/;
export const itemsMax = 1_000;

/** `resource:action`. */
export const scope = parsed(parseScope, 'a scope', { pattern: scopePattern.source, maxLength: scopeBytesMax });
export const name = matching(label, 'name (a DNS label in lower case)', 63);
export const host = matching(hostPattern, 'host name (lower case, without port)', hostLengthMax);
export const scopes = set(scope, { max: itemsMax });
const someScopes = set(scope, { min: 1, max: itemsMax });
const pathPattern = parsed(parsePathPattern, 'a path pattern', { pattern: pathPatternPattern.source });
export const paths = set(pathPattern, { min: 1, max: itemsMax });
export const portNumber = integer(1, 65_535);
const peer = parsed(parsePeer, 'a peer', {
  anyOf: [{ enum: ['router', 'any', unmeshed] }, { pattern: workloadPattern }, { pattern: spiffeIdPattern }],
});

/** Of HTTP. */
export const method = matching(methodPattern, 'method', 32);

export const http = object({
  methods: optional(set(method, { min: 1, max: 32 }), 'Methods in capitals; without it every method.'),
  paths: optional(
    paths,
    'Paths, one of which has to match (`*` is one segment, `**` at the end the rest); without it every path.',
  ),
});

const grpc = object({
  methods: required(
    set(parsed(parseGrpcMethod, 'a method of gRPC', { pattern: grpcMethodPattern.source, maxLength: 512 }), {
      min: 1,
      max: itemsMax,
    }),
    'Methods as package.Service/Method, or package.Service/* for all of a service.',
  ),
});

const claim = checked(
  object({
    claim: optional(
      oneOf('sub', 'client_id', 'account', 'iss', 'cell_id', 'scope', 'jti'),
      'A claim that every token has, by its name.',
    ),
    pointer: optional(
      parsed((written) => parsePointer(written).text, 'a JSON pointer', {
        pattern: pointerPattern.source,
        maxLength: 256,
      }),
      'Any claim, by a JSON pointer (RFC 6901) into the token.',
    ),
    as: optional(
      oneOf('value', 'list', 'words'),
      'How the claim is read: `value` (the default), `list` (an array, one of whose elements counts), `words` (text of words with spaces between, one of which counts).',
    ),
    equals: optional(scalar, 'The value, of the same JSON type.'),
    in: optional(list(scalar, { min: 1, max: itemsMax }), 'Values, one of which it has to be.'),
    exists: optional(flag, 'Whether there is a value at all; `null` is none.'),
  }),
  ({ claim, pointer, as, equals, in: values, exists }) => {
    if ((claim === undefined) === (pointer === undefined))
      return 'a condition is about either a `claim` or a `pointer`';
    if ([equals, values, exists].filter((test) => test !== undefined).length !== 1)
      return 'a condition has one of `equals`, `in` and `exists`';
    return exists !== undefined && as !== undefined ? '`exists` is not read `as` anything' : undefined;
  },
);

const limit = object({
  per: required(
    oneOf('account', 'peer', 'rule'),
    'What is counted by itself: each customer, each calling workload, or all together.',
  ),
  perSecond: required(number(0.001, 1_000_000), 'Requests a second, on average.'),
  burst: optional(integer(1, 1_000_000), 'Requests at once after a pause; without it those of a second, at least one.'),
});

const ruleFields = object({
  name: required(name, 'Shown in decisions; no second rule of the manifest has it.'),
  from: required(
    set(peer, { min: 1, max: itemsMax }),
    'Who may call: namespace/service-account, a SPIFFE ID of the cell or a pattern of them, `router`, `any` that declares the call, or `unmeshed`: whoever calls without TLS.',
  ),
  port: optional(portNumber, 'One of `ports`; without it all of them.'),
  http: optional(http, 'Which requests; without it all of them.'),
  grpc: optional(grpc, 'Which methods of gRPC, in place of `http`.'),
  scopes: optional(scopes, 'Scopes, every one of which is needed.'),
  anyScope: optional(someScopes, 'Scopes, one of which is needed.'),
  account: optional(
    oneOf('required', 'none'),
    'Whether a customer is needed (`required` without it); a token that is there must be valid all the same.',
  ),
  actor: optional(
    union(
      'none, required or a list of subjects',
      oneOf('none', 'required'),
      list(text({ max: 2048, what: 'a subject' }), { min: 1, max: itemsMax }),
    ),
    'Who acts for the customer (`act.sub`, RFC 8693): nobody, somebody, or one of these subjects; without it whoever.',
  ),
  claims: optional(list(claim, { max: 32 }), 'What the token must say; all of it.'),
  until: optional(moment, 'When the rule ends, in UTC; from then on it allows nothing.'),
  limits: optional(
    list(limit, { max: 8 }),
    'How often; a request is refused with 429 when every rule that allows it is at a limit.',
  ),
  sensitive: optional(flag, 'Callers must say whose data they mean, with `cellmesh-expect-account`.'),
});

const wordsOfObjects = dictionary(text({ max: 317 }), text({ min: 0, max: 262_144 }), itemsMax);

/** What Kubernetes objects have beside a name, and tools that write files for them add. */
export const objectFields = {
  labels: optional(wordsOfObjects, 'Labels of the Kubernetes object; here they mean nothing.'),
  annotations: optional(wordsOfObjects, 'Annotations of the Kubernetes object; here they mean nothing.'),
};

/** One rule of `allow`. */
export const rule = checked(ruleFields, ({ http, grpc }) =>
  http !== undefined && grpc !== undefined ? 'a rule is about `http` or about `grpc`, not both' : undefined,
);

export type WrittenRule = ShapeValue<typeof rule>;

function parsePeer(written: string): PeerPattern {
  if (written === 'router' || written === 'any' || written === unmeshed) return { kind: written };
  if (isIdPattern(written)) return { kind: 'pattern', pattern: parseIdPattern(written) };
  if (written.startsWith('spiffe://')) return { kind: 'id', id: parseSpiffeId(written) };
  return {
    kind: 'workload',
    workload: parseWorkloadName(written, 'namespace/service-account, a SPIFFE ID, `router`, `any` or `unmeshed`'),
  };
}

export function parseWorkloadName(written: string, expected: string): WorkloadName {
  const [namespace, serviceAccount, ...rest] = written.split('/');
  if (rest.length > 0 || !label.test(namespace ?? '') || !label.test(serviceAccount ?? '')) {
    throw shapeError(`${JSON.stringify(written.slice(0, 128))} is not ${expected}`);
  }
  return { namespace: namespace!, serviceAccount: serviceAccount! };
}

/** A method of gRPC is a path (gRPC over HTTP/2, Requests). */
function parseGrpcMethod(written: string) {
  if (!grpcMethodPattern.test(written))
    throw shapeError(
      `${JSON.stringify(written.slice(0, 128))} is no method of gRPC; write package.Service/Method or package.Service/*`,
    );
  return parsePathPattern(`/${written}`);
}

export function shapeError(message: string): CellmeshError {
  return new CellmeshError('document_invalid', message);
}

/** One side of an edge as a ceiling names it: `namespace/service-account`, `namespace/*`, or one of `words`. */
export function workloads<const W extends string>(...words: readonly W[]) {
  const expected = `namespace/service-account, namespace/* or ${words.join(' or ')}`;
  return parsed(
    (written): WorkloadName | W => {
      const word = words.find((one) => one === written);
      if (word !== undefined) return word;
      const [namespace, all, ...rest] = written.split('/');
      if (all !== '*' || rest.length > 0) return parseWorkloadName(written, expected);
      return { ...parseWorkloadName(`${namespace}/x`, expected), serviceAccount: '*' };
    },
    expected,
    { anyOf: [{ enum: words }, { pattern: workloadsPattern }] },
  );
}
