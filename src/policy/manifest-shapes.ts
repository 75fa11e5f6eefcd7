import { trafficFields } from './call-traffic.ts';
import {
  host,
  http,
  itemsMax,
  name,
  objectFields,
  parseWorkloadName,
  paths,
  portNumber,
  rule,
  scopes,
  shapeError,
  workloadPattern,
} from './rule-shapes.ts';
import type { ListenAddress } from './service-port.ts';
import {
  checked,
  integer,
  list,
  located,
  moment,
  notYet,
  number,
  object,
  oneOf,
  optional,
  parsed,
  required,
  type ShapeValue,
  set,
} from './shapes.ts';
import type { WorkloadName } from './workload-name.ts';

export const apiVersion = 'cellmesh.io/v1alpha1';
const loopbackPattern = /^(127\.0\.0\.1|\[::1\]):(\d{1,5})$/;
const rulesMax = 10_000;

const expose = object({
  hosts: required(set(host, { min: 1, max: itemsMax }), "Hosts of customers' requests."),
  paths: required(paths, 'Paths that are sent here: `*` is one segment, `**` at the end the rest.'),
  auth: required(oneOf('required', 'none'), 'Whether the router demands credentials.'),
});

const call = object({
  to: required(
    parsed(parseCallee, 'a callee', { pattern: workloadPattern }),
    'The service that is called, as namespace/service-account; one entry for each.',
  ),
  listen: optional(
    parsed(parseListen, 'a loopback address', { pattern: loopbackPattern.source }),
    "A loopback port of the caller's own for this callee: 127.0.0.1:PORT or [::1]:PORT.",
  ),
  carry: optional(scopes, 'Scopes of a customer that may be taken along; without it all that is left, `[]` is none.'),
  own: optional(scopes, 'Scopes that the service has by itself at this callee.'),
  token: optional(
    notYet(oneOf('propagate', 'exchange', 'none'), (value) => value !== 'exchange', '`token: exchange`'),
    'Whether a customer is taken along (`propagate` without it).',
  ),
  ...trafficFields({ port: portNumber, http }),
});

const port = object({
  port: required(portNumber, 'Port of the application.'),
  protocol: required(
    oneOf('http', 'grpc', 'tcp'),
    'HTTP/1.1, gRPC (HTTP/2 with prior knowledge), or bytes that nobody looks at.',
  ),
});

const percentPattern = /^(100|\d{1,2}(\.\d{1,2})?)%$/;
const rollout = object({
  percent: required(
    number(0, 100),
    'The share of accounts for which it is in force; for all it is recorded what it would say.',
  ),
  newlyDeniedMax: required(
    parsed(parsePercent, 'a percentage', { pattern: percentPattern.source }),
    'The share of requests allowed by the version in force that it may deny, such as 0.5%; past it, it is withdrawn.',
  ),
  requestsMin: optional(integer(1, 1_000_000), 'Requests before it is judged; 100 without it.'),
});

const inbound = checked(
  object({
    mode: required(
      oneOf('strict', 'observe-plaintext'),
      'Whether callers without TLS are turned away, or are heard by rules with `from: [unmeshed]`.',
    ),
    until: optional(moment, 'When `observe-plaintext` ends, in UTC; from then on it is `strict`.'),
  }),
  ({ mode, until }) => {
    if (mode === 'strict') return until === undefined ? undefined : '`until` is of `observe-plaintext`';
    return until === undefined ? '`observe-plaintext` ends some day: say `until` when' : undefined;
  },
);

const metadata = object({
  name: required(name, 'Name of the service.'),
  namespace: required(name, 'Namespace of the service.'),
  ...objectFields,
});

const spec = object({
  serviceAccount: required(name, 'With the namespace it is the workload; one manifest for each.'),
  mode: required(oneOf('audit', 'enforce'), 'Whether what no rule allows is refused, or let through and recorded.'),
  hosts: optional(
    list(located(host), { min: 1, max: itemsMax }),
    'What callers may call it; without it <name> within its namespace, and <name>.<namespace>, this with .svc and .svc.cluster.local.',
  ),
  ports: required(
    list(port, { min: 1, max: 64 }),
    "Ports of the application; a request's `Host` picks the entry, without a port there it is the first.",
  ),
  inbound: optional(inbound, 'Who may connect: only the mesh (`strict`, without it), or for a while others too.'),
  receive: optional(
    notYet(oneOf('claims', 'token'), (value) => value === 'claims', '`receive: token`'),
    'What the application gets of a customer: verified claims as headers.',
  ),
  expose: optional(
    list(expose, { max: itemsMax }),
    'What routers may send here; what is allowed there is for `allow`.',
  ),
  allow: optional(list(located(rule), { max: rulesMax }), 'Who may call it for what; what no rule allows is refused.'),
  rollout: optional(
    rollout,
    'Makes it a candidate: its rules are tried beside those in force, in the other manifest of the service account.',
  ),
  calls: optional(list(located(call), { max: itemsMax }), 'What it may call; anything else its own sidecar refuses.'),
});

export const servicePolicy = object({
  apiVersion: required(oneOf(apiVersion), 'Version of this format.'),
  kind: required(oneOf('ServicePolicy'), 'Who may call a service for what, and what it may call.'),
  metadata: required(metadata, 'What the service is called.'),
  spec: required(spec, 'The policy itself.'),
});

export type WrittenCall = ShapeValue<typeof call>;

function parsePercent(written: string): number {
  if (percentPattern.test(written)) return Number(written.slice(0, -1));
  throw shapeError(`${JSON.stringify(written.slice(0, 32))} is no percentage; write 1% or 0.5%`);
}

function parseCallee(written: string): WorkloadName {
  if (written.startsWith('https://')) throw shapeError('external callees (`https://`) are not yet supported');
  return parseWorkloadName(written, 'namespace/service-account');
}

function parseListen(written: string): ListenAddress {
  const match = loopbackPattern.exec(written);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535)
    throw shapeError(
      `${JSON.stringify(written.slice(0, 64))} is no loopback address; write 127.0.0.1:PORT or [::1]:PORT`,
    );
  return { host: match[1]!.replace(/[[\]]/g, ''), port };
}
