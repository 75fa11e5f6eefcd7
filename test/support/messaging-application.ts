import { callHttp, type Handler, type HttpAnswer, type ReceivedRequest, traceContextOf } from './application.ts';

/** The three services of the demonstration, as manifests and handlers of tests. */
export type ServiceName = 'api' | 'messaging' | 'delivery';
export const serviceNames: readonly ServiceName[] = ['api', 'messaging', 'delivery'];

export const cellDocument = `
apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.cellmesh.localhost
  domain: cellmesh.localhost
  tokenIssuer: https://identity.cellmesh.localhost
  scopes:
    messages:read: Read messages.
    messages:write: Write messages.
    messages:expire: Remove old messages.
    billing:write: Change what is billed.
`;

export type Ports = Readonly<Record<ServiceName, number>>;

/** One file of manifests; each application listens on the port that its manifest declares. */
export function manifests(ports: Ports, listenPort?: number): string {
  return [apiManifest(ports, listenPort), messagingManifest(ports), deliveryManifest(ports)].join('\n---\n');
}

function apiManifest({ api }: Ports, listenPort?: number): string {
  return `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: api, namespace: messaging }
spec:
  serviceAccount: api
  mode: enforce
  hosts: [api, api.cellmesh.localhost]
  ports: [{ port: ${api}, protocol: http }]
  expose: [{ hosts: [api.cellmesh.localhost], paths: ["/v1/**"], auth: required }]
  allow:
    - { name: read, from: [router], http: { methods: [GET], paths: ["/v1/**"] }, scopes: [messages:read] }
    - { name: write, from: [router], http: { methods: [POST], paths: ["/v1/**"] }, scopes: [messages:write] }
  calls:
    - to: messaging/messaging
      carry: [messages:read, messages:write]
      own: [messages:expire]${listenPort === undefined ? '' : `\n      listen: 127.0.0.1:${listenPort}`}
`;
}

function messagingManifest({ messaging }: Ports): string {
  return `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: messaging, namespace: messaging }
spec:
  serviceAccount: messaging
  mode: enforce
  ports: [{ port: ${messaging}, protocol: http }]
  allow:
    - { name: read, from: [messaging/api], http: { methods: [GET], paths: [/v1/messages] }, scopes: [messages:read] }
    - { name: write, from: [messaging/api], http: { methods: [POST], paths: [/v1/messages] }, scopes: [messages:write] }
    - { name: bill, from: [messaging/api], http: { methods: [POST], paths: [/v1/bill] }, scopes: [billing:write] }
    - name: export
      from: [messaging/api]
      http: { methods: [GET], paths: [/v1/export] }
      scopes: [messages:read]
      sensitive: true
    - name: expire
      from: [messaging/api]
      http: { methods: [POST], paths: [/v1/expire] }
      scopes: [messages:expire]
      account: none
  calls:
    - { to: messaging/delivery, carry: [messages:write] }
`;
}

function deliveryManifest({ delivery }: Ports): string {
  return `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: delivery, namespace: messaging }
spec:
  serviceAccount: delivery
  mode: enforce
  ports: [{ port: ${delivery}, protocol: http }]
  allow:
    - { name: deliver, from: [messaging/messaging], http: { methods: [POST], paths: [/v1/deliveries] }, scopes: [messages:write] }
    - { name: peek, from: [messaging/messaging], http: { methods: [GET], paths: [/v1/deliveries] }, scopes: [messages:read] }
`;
}

/** What an answer of the chain says about each service that it went through. */
export interface ChainAnswer {
  readonly service: ServiceName;
  readonly caller: string;
  readonly account: string;
  readonly scope: string;
  readonly status: number;
  readonly next?: ChainAnswer | string;
}

/**
 * A service that calls the next one with the trace context of the request it is serving, as an instrumented one does, and answers with that
 * one's status. \`x-next\` names what it does otherwise: the path, or nothing.
 */
export function chainHandler(service: ServiceName, outboundPort: () => number): Handler {
  const next: Partial<Record<ServiceName, ServiceName>> = { api: 'messaging', messaging: 'delivery' };
  return async (received): Promise<HttpAnswer> => {
    const callee = next[service];
    const path = nextPath(service, received);
    if (callee === undefined || path === undefined) return answer(service, received, 200);
    const called = await callHttp({
      port: outboundPort(),
      authority: callee,
      method: received.method,
      path,
      headers: traceContextOf(received),
      ...(received.body === '' ? {} : { body: received.body }),
    });
    return answer(service, received, called.status, called.body);
  };
}

function nextPath(service: ServiceName, { method, url }: ReceivedRequest): string | undefined {
  if (service === 'api') return url === '/v1/local' ? undefined : url;
  return method === 'POST' && url === '/v1/messages' ? '/v1/deliveries' : undefined;
}

function answer(service: ServiceName, { headers }: ReceivedRequest, status: number, next?: string): HttpAnswer {
  const body = {
    service,
    caller: headers['cellmesh-caller'],
    account: headers['cellmesh-account'],
    scope: headers['cellmesh-scope'],
    status,
    ...(next === undefined ? {} : { next: parse(next) }),
  };
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
