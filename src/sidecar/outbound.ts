import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Endpoint } from '#net/endpoints.ts';
import type { CallRetries } from '#policy/call-traffic.ts';
import { canonicalTarget, noTarget } from '#policy/canonical-path.ts';
import type { Denial } from '#policy/decide.ts';
import type { CallContext, OutboundCall, OutboundPermit, OutboundRequest } from '#policy/decide-outbound.ts';
import { claimsOf } from '#policy/decision-record.ts';
import type { Clock } from '#runtime/clock.ts';
import { idempotentMethods } from '#runtime/idempotent-methods.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';
import { Attempts, noRetries } from '#traffic/attempts.ts';
import type { Balancers } from '#traffic/balancers.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import { forward } from '#wire/forward.ts';
import type { MeshUpstreams } from '#wire/mesh-upstreams.ts';
import type { OpenTunnels } from '#wire/open-tunnels.ts';
import { type GeneratedResponse, respond } from '#wire/respond.ts';
import { WireError } from '#wire/wire-error.ts';
import type { ActivePolicy } from './active-policy.ts';
import { Asked } from './asked.ts';
import { intentOf } from './call-context.ts';
import { CarriedToken } from './carried-token.ts';
import { authorityOf, type Chosen, choose, type OutboundEntry } from './chosen-call.ts';
import type { DecisionLog, OpenRecord } from './decision-log.ts';
import { answerDenial } from './denial-response.ts';
import { answerFailure } from './failure.ts';
import type { HandleTable } from './handles.ts';
import { callOpaque } from './opaque-call.ts';
import { joinToCallee, OutboundPlan, type Outgoing, type Way } from './outbound-plan.ts';
import { denialOf, internalDenial, Refused } from './refusal.ts';
import { noteCallee } from './request-span.ts';
import { readTrace, traceLines } from './request-trace.ts';

interface OutboundOptions {
  readonly policy: Watch<ActivePolicy | undefined>;
  /** What is known is older than it may be: nothing can be decided by it (DESIGN.md 7). */
  readonly isStale: (nowMs: number) => boolean;
  readonly handles: HandleTable;
  readonly decisions: DecisionLog;
  readonly balancers: Balancers<SpiffeId, Endpoint>;
  /** Undefined until there is an SVID. */
  readonly mesh: () => MeshUpstreams | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracingRatio: number;
  readonly makesSpans: boolean;
  /** Serves what is said inside a tunnel; told after the CONNECT was accepted. */
  readonly serveTunnel: (exchange: ServerExchange<OutboundEntry>, authority: string) => void;
  readonly tunnels: OpenTunnels;
  readonly onInternalError: (error: unknown) => void;
}

type OutboundAsked = Asked<OutboundEntry>;

/** Requests of this pod's application to the mesh. */
export class Outbound {
  readonly #options: OutboundOptions;
  readonly #carried = new CarriedToken();

  constructor(options: OutboundOptions) {
    this.#options = options;
  }

  readonly handle = (exchange: ServerExchange<OutboundEntry>): void => {
    const { decisions, clock } = this.#options;
    const nowMs = clock.now();
    const asked = new Asked(decisions, exchange, decisions.begin('outbound', nowMs));
    let denial: Denial | undefined;
    try {
      denial = this.#serve(asked, nowMs);
    } catch (error) {
      denial = this.#denialFor(error);
    }
    if (denial !== undefined) this.#refuse(asked, denial);
  };

  /** A request whose head could not be read never becomes an exchange; it has its record all the same. */
  refused(error: WireError): GeneratedResponse {
    const { decisions } = this.#options;
    return decisions.refused(decisions.begin('outbound'), error);
  }

  /** The path of a request, top to bottom; nothing in it waits. Ends with a denial, or undefined once the request is on its way. */
  #serve(asked: OutboundAsked, nowMs: number): Denial | undefined {
    const { exchange, record } = asked;
    const { request } = exchange;
    const { handles } = this.#options;
    record.method = request.method;
    const trace = readTrace(request, this.#options);
    record.traceId = trace.parent.traceId;
    asked.span = trace.span;

    const policy = this.#policyNow(record, nowMs);
    const chosen = choose(policy, exchange);
    if (chosen === undefined) return policy.outbound.notDeclared(authorityOf(exchange));
    record.callee = chosen.call.source.name;
    record.port = chosen.port.port;
    if (trace.span !== undefined) noteCallee(trace.span, chosen.authority, chosen.call.source.id);

    const isOpaque = chosen.port.protocol === 'tcp';
    if (request.method !== 'CONNECT') {
      if (isOpaque) throw new Refused('protocol_mismatch', 'call', 'a connection', 'a request');
    } else if (!isOpaque) return this.#openTunnel(asked, chosen);

    const target = isOpaque ? noTarget : canonicalTarget(request.path);
    if (!isOpaque) record.path = target.path;

    const intent = intentOf(request, trace, handles, nowMs);
    const { context, expectedAccount } = intent;
    noteContext(record, context);

    const { method } = request;
    const { call, port } = chosen;
    // A connection has no field to say so: without a customer's context it is the workload's own.
    const isSelf = intent.isSelf || (isOpaque && context.tag === 'absent');
    const asking = { call, port: port.port, method, path: target.path, context, isSelf, expectedAccount };
    const decision = policy.outbound.decide(asking);
    if (decision.outcome === 'deny') return decision;
    const route = policy.outbound.routeOf(asking);
    record.outcome = 'permit';
    const routeName = route && policy.outbound.nameOf(route);
    if (routeName !== undefined) record.route = routeName;
    record.granted = decision.attach?.left.text ?? '';

    const path = target.path + target.query;
    const outgoing = {
      authority: chosen.authority,
      target: path,
      append: this.#attachedFields(decision) + traceLines(trace),
    };
    const mesh = this.#options.mesh();
    const attempts = mesh && this.#attempts(mesh, call, idempotentMethods.has(method) ? route?.retries : undefined);
    const upstream = attempts?.first(exchange.startedAt);
    if (mesh === undefined || attempts === undefined || upstream === undefined) this.#unreachable(asked, decision);
    else if (isOpaque) this.#connect(asked, asking, outgoing, { mesh, attempts, upstream });
    else {
      const way = { mesh, attempts, upstream, timeouts: route?.timeouts };
      forward(exchange, new OutboundPlan(this.#options, asked, asking, outgoing, way));
    }
    return undefined;
  }

  #policyNow(record: OpenRecord, nowMs: number): ActivePolicy {
    const policy = this.#options.policy.current;
    if (this.#options.isStale(nowMs))
      throw new Refused('state_stale', 'call', 'a recent word of the control plane', 'none');
    if (policy === undefined) throw new Refused('policy_missing', 'call', 'a policy snapshot', 'none yet');
    record.service = policy.snapshot.service.name;
    record.policyVersion = policy.snapshot.version;
    return policy;
  }

  /** What is said inside is decided request by request; opening promises nothing. */
  #openTunnel(asked: OutboundAsked, { authority }: Chosen): undefined {
    const { exchange, record } = asked;
    if (exchange.context.tag !== 'proxy')
      throw new Refused('message_malformed', 'call', 'a request', 'a second CONNECT');
    record.outcome = 'permit';
    // Nothing has been called yet.
    asked.span = undefined;
    this.#options.serveTunnel(exchange, authority);
  }

  #attachedFields({ attach }: OutboundPermit): string {
    return attach === undefined ? '' : this.#carried.lines(attach.token, attach.left);
  }

  #attempts(mesh: MeshUpstreams, { source }: OutboundCall, retries: CallRetries | undefined) {
    const { balancers, random } = this.#options;
    const { id, connectMs } = source;
    const rule = retries === undefined ? noRetries : { ...retries, attemptsMax: retries.attempts };
    const upstreamOf = (instance: Endpoint) => mesh.to(id, instance, connectMs);
    return new Attempts({ balancer: balancers.of(id), rule, random, upstreamOf });
  }

  /** Joins the application's connection to one of the callee's instances. */
  #connect(asked: OutboundAsked, asking: OutboundRequest, outgoing: Outgoing, way: Way): void {
    const { exchange, record } = asked;
    const { mesh, attempts, upstream } = way;
    callOpaque(exchange, {
      client: mesh.pool,
      upstream,
      authority: outgoing.authority,
      fields: outgoing.append,
      onTunnel: (local, remote) => {
        attempts.answered(200);
        remote.once('close', () => attempts.over(undefined));
        joinToCallee(this.#options, asking, local, remote);
      },
      onRefused: ({ status }) => {
        attempts.answered(status);
        attempts.over(undefined);
        respond(exchange, { status });
      },
      onFailed: (error) => {
        const next = exchange.ended ? undefined : attempts.next({ error });
        if (next !== undefined) return this.#connect(asked, asking, outgoing, { ...way, ...next });
        answerFailure(exchange, record, error);
      },
      onGivenUp: () => attempts.over(undefined),
    });
  }

  #unreachable({ exchange, record }: OutboundAsked, { call }: OutboundPermit): void {
    const error = new WireError('upstream_unreachable', `no instance of ${call.source.name} is known`);
    answerFailure(exchange, record, error);
  }

  #denialFor(error: unknown): Denial {
    const denial = denialOf(error);
    if (denial === undefined) this.#options.onInternalError(error);
    return denial ?? internalDenial;
  }

  #refuse({ exchange, record }: OutboundAsked, { reason, failed }: Denial): void {
    record.outcome = 'deny';
    record.reason = reason;
    record.failed = failed;
    answerDenial(exchange, { reason, decisionId: record.id });
  }
}

function noteContext(record: OpenRecord, context: CallContext): void {
  if (context.tag !== 'found') return;
  record.claims = claimsOf(context.token);
  record.left = context.left.text;
  if (context.token.account !== undefined) record.account = context.token.account;
}
