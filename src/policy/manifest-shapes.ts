import { parseSpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { parseScope, scopeBytesMax, scopePattern } from '#tokens/scope.ts';
import { trafficFields } from './call-traffic.ts';
import type { ListenAddress, PeerPattern, WorkloadName } from './manifest.ts';
import { parsePathPattern, pathPatternPattern } from './path-pattern.ts';
import {
  flag,
  integer,
  list,
  located,
  matching,
  notYet,
  object,
  oneOf,
  optional,
  parsed,
  required,
  type ShapeValue,
} from './shapes.ts';

export const apiVersion = 'cellmesh.io/v1alpha1';
const labelText = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
const label = new RegExp(`^${labelText}$`);
const hostPattern = new RegExp(`^(?=.{1,253}$)${labelText}(\\.${labelText})*$`);
const workloadPattern = `^${labelText}/${labelText}$`;
const spiffeIdPattern = '^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)*$';
const methodPattern = /^[A-Z][A-Z-]{0,31}$/;
const loopbackPattern = /^(127\.0\.0\.1|\[::1\]):(\d{1,5})$/;
const rulesMax = 10_000;
const itemsMax = 1_000;

/** `resource:action`. */
export const scope = parsed(parseScope, 'a scope', { pattern: scopePattern.source, maxLength: scopeBytesMax });
const name = matching(label, 'name (a DNS label in lower case)');
const host = matching(hostPattern, 'host name (lower case, without port)');
const scopes = list(scope, { max: itemsMax });
const pathPattern = parsed(parsePathPattern, 'a path pattern', { pattern: pathPatternPattern.source });
const paths = list(pathPattern, { min: 1, max: itemsMax });
const portNumber = integer(1, 65_535);
const peer = parsed(parsePeer, 'a peer', {
  anyOf: [{ enum: ['router', 'any'] }, { pattern: workloadPattern }, { pattern: spiffeIdPattern }],
});

const expose = object({
  hosts: required(list(host, { min: 1, max: itemsMax }), "Hosts of customers' requests."),
  paths: required(paths, 'Paths that are sent here: `*` is one segment, `**` at the end the rest.'),
  auth: required(oneOf('required', 'none'), 'Whether the router demands credentials.'),
});

const http = object({
  methods: optional(
    list(matching(methodPattern, 'method'), { min: 1, max: 32 }),
    'Methods in capitals; without it every method.',
  ),
  paths: optional(
    paths,
    'Paths, one of which has to match (`*` is one segment, `**` at the end the rest); without it every path.',
  ),
});

const rule = object({
  name: required(name, 'Shown in decisions; no second rule of the manifest has it.'),
  from: required(
    list(peer, { min: 1, max: itemsMax }),
    'Who may call: namespace/service-account, a SPIFFE ID of the cell, `router`, or `any` that declares the call.',
  ),
  port: optional(portNumber, 'One of `ports`; without it all of them.'),
  http: optional(http, 'Which requests; without it all of them.'),
  scopes: optional(scopes, 'Scopes, every one of which is needed.'),
  account: optional(
    oneOf('required', 'none'),
    'Whether a customer is needed (`required` without it); a token that is there must be valid all the same.',
  ),
  sensitive: optional(flag, 'Callers must say whose data they mean, with `cellmesh-expect-account`.'),
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

const metadata = object({
  name: required(name, 'Name of the service.'),
  namespace: required(name, 'Namespace of the service.'),
});

const spec = object({
  serviceAccount: required(name, 'With the namespace it is the workload; one manifest for each.'),
  mode: required(oneOf('audit', 'enforce'), 'Whether what no rule allows is refused, or let through and recorded.'),
  hosts: optional(
    list(located(host), { min: 1, max: itemsMax }),
    'What callers may call it; without it <name>, <name>.<namespace>, and these with .svc and .svc.cluster.local.',
  ),
  ports: required(
    list(port, { min: 1, max: 64 }),
    "Ports of the application; a request's `Host` picks the entry, without a port there it is the first.",
  ),
  receive: optional(
    notYet(oneOf('claims', 'token'), (value) => value === 'claims', '`receive: token`'),
    'What the application gets of a customer: verified claims as headers.',
  ),
  expose: optional(
    list(expose, { max: itemsMax }),
    'What routers may send here; what is allowed there is for `allow`.',
  ),
  allow: optional(list(located(rule), { max: rulesMax }), 'Who may call it for what; what no rule allows is refused.'),
  calls: optional(list(located(call), { max: itemsMax }), 'What it may call; anything else its own sidecar refuses.'),
});

export const servicePolicy = object({
  apiVersion: required(oneOf(apiVersion), 'Version of this format.'),
  kind: required(oneOf('ServicePolicy'), 'Who may call a service for what, and what it may call.'),
  metadata: required(metadata, 'What the service is called.'),
  spec: required(spec, 'The policy itself.'),
});

export type WrittenRule = ShapeValue<typeof rule>;
export type WrittenCall = ShapeValue<typeof call>;

function parsePeer(written: string): PeerPattern {
  if (written === 'router' || written === 'any') return { kind: written };
  if (written.startsWith('spiffe://')) return { kind: 'id', id: parseSpiffeId(written) };
  return {
    kind: 'workload',
    workload: parseWorkloadName(written, 'namespace/service-account, a SPIFFE ID, `router` or `any`'),
  };
}

function parseCallee(written: string): WorkloadName {
  if (written.startsWith('https://')) throw shapeError('external callees (`https://`) are not yet supported');
  return parseWorkloadName(written, 'namespace/service-account');
}

function parseWorkloadName(written: string, expected: string): WorkloadName {
  const [namespace, serviceAccount, ...rest] = written.split('/');
  if (rest.length > 0 || !label.test(namespace ?? '') || !label.test(serviceAccount ?? '')) {
    throw shapeError(`${JSON.stringify(written.slice(0, 128))} is not ${expected}`);
  }
  return { namespace: namespace!, serviceAccount: serviceAccount! };
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

function shapeError(message: string): CellmeshError {
  return new CellmeshError('document_invalid', message);
}
