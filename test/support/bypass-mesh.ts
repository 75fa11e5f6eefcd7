import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { type Application, type ReceivedRequest, startApplication } from './application.ts';
import { eventually } from './eventually.ts';
import { account } from './mint-test-token.ts';
import { type RawAnswer, type RawRequest, sendRaw } from './raw-request.ts';
import { type Mesh, startMesh } from './start-mesh.ts';

/** Where a request enters: at the callee's mTLS port as its caller's sidecar would, or at the caller's sidecar as its application would. */
export interface Way {
  readonly side: 'inbound' | 'outbound';
  readonly protocol: 'http/1.1' | 'h2';
}

export const ways: readonly Way[] = [
  { side: 'inbound', protocol: 'http/1.1' },
  { side: 'inbound', protocol: 'h2' },
  { side: 'outbound', protocol: 'http/1.1' },
  { side: 'outbound', protocol: 'h2' },
];

/** PAINS.md P11: names by which somebody else would be believed, about who calls or what is asked for. */
const neverReceived = /_|^(x-forwarded-client-cert|x-envoy-original-path|x-original-url|x-rewrite-url)$/;

export const nameOf = ({ side, protocol }: Way) => `${side}, ${protocol === 'h2' ? 'HTTP/2' : 'HTTP/1.1'}`;

/** What became of one request, everywhere. */
export interface Judged {
  readonly answer: RawAnswer;
  /** What the callee's application got, with the port that it came to. */
  readonly received: (ReceivedRequest & { readonly port: number }) | undefined;
  /** Of whoever decided last: the callee's sidecar, or the caller's where it went no further. */
  readonly record: DecisionRecord | undefined;
}

export interface BypassMesh extends AsyncDisposable {
  readonly mesh: Mesh;
  /** `messaging` with the port of `/public/**` and `/files/*`, and with the one of `/health`, both of the same service. */
  readonly publicAuthority: string;
  readonly adminAuthority: string;
  /** Opens what `way` begins with. */
  open(way: Way): Promise<Duplex>;
  /** What says on whose behalf a request of `way` is: a token and what is left of it, or a handle. */
  credentials(way: Way): readonly (readonly [name: string, value: string])[];
  /** Sends one request as `api` for `account`, and holds against each other what was decided, recorded and received. */
  judge(way: Way, request: RawRequest): Promise<Judged>;
}

/**
 * `api` may call `messaging`: everything below `/public/` and one segment below `/files/` at one port, `/health` at the other. `/admin/**` is for
 * a scope that nobody has, `/dotted` for a workload whose name with its dot for any character would be `api`.
 */
export async function startBypassMesh(): Promise<BypassMesh> {
  await using starting = new AsyncDisposableStack();
  const admin = starting.use(await startApplication());
  const mesh = starting.use(
    await startMesh({
      handlers: { api: () => ({ status: 200, body: '' }), messaging: () => ({ status: 200, body: 'ok' }) },
      editManifests: (text) => withRules(text, admin.port),
    }),
  );
  const token = await mesh.mint();
  await mesh.callAsRouter({ token });
  const handle = String(mesh.services.api.application.received[0]!.headers['cellmesh-context']);
  const inboundFields = [
    ['cellmesh-token', token],
    ['cellmesh-left', '1 messages:read'],
  ] as const;
  const outboundFields = [['cellmesh-context', handle]] as const;
  const credentials = ({ side }: Way) => (side === 'inbound' ? inboundFields : outboundFields);
  const open = (way: Way) => openWay(mesh, way);
  const applications = [mesh.services.messaging.application, admin];
  const owned = starting.move();
  return {
    mesh,
    publicAuthority: `messaging:${mesh.services.messaging.application.port}`,
    adminAuthority: `messaging:${admin.port}`,
    open,
    credentials,
    async judge(way, request) {
      const heard = new Hearing(mesh, applications);
      const fields = [...credentials(way), ...(request.fields ?? [])];
      const answer = await sendRaw(await open(way), way.protocol, { ...request, fields });
      return heard.judge(way, answer);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function withRules(text: string, adminPort: number): string {
  return text.replace(
    /serviceAccount: messaging\n {2}mode: enforce\n {2}ports: \[\{ port: (\d+), protocol: http \}\]\n {2}allow:\n/,
    (_, port: string) => `serviceAccount: messaging
  mode: enforce
  hosts: [messaging, messaging.messaging.svc]
  ports: [{ port: ${port}, protocol: http }, { port: ${adminPort}, protocol: http }]
  allow:
    - { name: public, from: [messaging/api], port: ${port}, http: { paths: ["/public/**"] }, scopes: [messages:read] }
    - { name: files, from: [messaging/api], port: ${port}, http: { methods: [GET], paths: ["/files/*"] } }
    - { name: admin, from: [messaging/api], http: { paths: ["/admin/**", "/admin"] }, scopes: [billing:write] }
    - { name: health, from: [messaging/api], port: ${adminPort}, http: { methods: [GET], paths: [/health] } }
    - name: dotted
      from: ["spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/a.i"]
      http: { paths: [/dotted] }
      account: none
`,
  );
}

async function openWay({ services, dialAs }: Mesh, { side, protocol }: Way): Promise<Duplex> {
  if (side === 'inbound') return dialAs(services.api.id, 'messaging', protocol);
  const socket = connect(services.api.dataPlane.outboundPort!, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

/** What the callee's sidecar and its applications hear from here on. One request at a time. */
class Hearing {
  readonly #mesh: Mesh;
  readonly #applications: readonly Application[];
  readonly #receivedBefore: readonly number[];
  readonly #recordsBefore: { readonly inbound: number; readonly outbound: number };

  constructor(mesh: Mesh, applications: readonly Application[]) {
    const { messaging, api } = mesh.services;
    this.#mesh = mesh;
    this.#applications = applications;
    this.#receivedBefore = applications.map(({ received }) => received.length);
    this.#recordsBefore = { inbound: messaging.records.length, outbound: api.records.length };
  }

  async judge({ side }: Way, answer: RawAnswer): Promise<Judged> {
    const { messaging, api } = this.#mesh.services;
    const outbound = side === 'inbound' ? undefined : await this.#next(api.records, this.#recordsBefore.outbound);
    const isHere = outbound === undefined || outbound.outcome === 'permit';
    const inbound = isHere ? await this.#next(messaging.records, this.#recordsBefore.inbound) : undefined;
    const received = this.#applications.flatMap(({ received, port }, index) =>
      received.slice(this.#receivedBefore[index]).map((request) => ({ ...request, port })),
    );
    if (inbound !== undefined && outbound !== undefined) assertSameCall(outbound, inbound);
    if (inbound?.outcome === 'permit') this.#assertReceived(inbound, received, answer);
    else assertRefused(inbound ?? outbound, received, answer);
    return { answer, received: received[0], record: inbound ?? outbound };
  }

  #next(records: readonly DecisionRecord[], before: number): Promise<DecisionRecord> {
    return eventually(() => {
      assert.equal(records.length, before + 1, 'one request, one record');
      return records[before]!;
    });
  }

  #assertReceived(record: DecisionRecord, received: readonly ReceivedRequest[], { status }: RawAnswer): void {
    assert.equal(received.length, 1, 'what was permitted arrived once');
    const [{ method, url, headers, rawHeaders } = assert.fail()] = received;
    assert.equal(url.split('?', 1)[0], record.path, 'the path that was decided on');
    assert.equal(method, record.method, 'the method that was decided on');
    assert.equal(record.peer, this.#mesh.services.api.id);
    assert.equal(headers['cellmesh-caller'], record.peer, 'the peer that was decided on');
    assert.equal(headers['cellmesh-account'], record.account, 'the account that was decided on');
    assert.equal(record.account, account);
    assert.equal(headers['cellmesh-scope'], record.granted, 'the scopes that were decided on');
    assert.equal(headers['cellmesh-decision'], record.id);
    const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
    for (const name of names) assert.ok(!neverReceived.test(name), name);
    const ours = names.filter((name) => name.startsWith('cellmesh'));
    assert.equal(new Set(ours).size, ours.length, `once each: ${ours}`);
    assert.equal(status, 200);
  }
}

/** What the caller's sidecar let go is what the callee's was asked. */
function assertSameCall(outbound: DecisionRecord, inbound: DecisionRecord): void {
  for (const field of ['method', 'path', 'account', 'traceId'] as const) assert.equal(inbound[field], outbound[field]);
  assert.equal(inbound.service, outbound.callee);
}

function assertRefused(record: DecisionRecord | undefined, received: readonly unknown[], answer: RawAnswer): void {
  assert.equal(received.length, 0, 'what was refused arrived nowhere');
  assert.equal(record?.outcome, 'deny');
  assert.equal(answer.status, record.status);
  if (record.method !== 'HEAD')
    assert.deepEqual(JSON.parse(answer.body), { reason: record.reason, decision: record.id });
  const { status } = answer;
  assert.ok(status !== undefined && [400, 401, 403, 417, 421, 431, 505].includes(status), String(status));
  if (status === 401) assert.match(answer.field('www-authenticate') ?? '', /^Bearer realm="cellmesh"/);
}
