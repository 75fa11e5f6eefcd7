import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import { type CanonicalTarget, canonicalTarget, noTarget } from '#policy/canonical-path.ts';
import type { Denial } from '#policy/decide.ts';
import type { Budgets, CandidateVerdict, InboundPermit } from '#policy/decide-inbound.ts';
import { claimsOf } from '#policy/decision-record.ts';
import { unmeshed } from '#policy/peer-pattern.ts';
import type { InboundRequest } from '#policy/rule.ts';
import type { ServicePort } from '#policy/service-port.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';
import type { CellId } from '#tokens/cell-id.ts';
import type { TokenVerifier } from '#tokens/token-verifier.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { connectInTime } from '#wire/connect-in-time.ts';
import type { Client, Protocol, ServerExchange, Upstream } from '#wire/exchange.ts';
import { fieldLines } from '#wire/field-lines.ts';
import { forward } from '#wire/forward.ts';
import { applicationUpstream, opaqueApplication } from '#wire/mesh-upstreams.ts';
import type { OpenTunnels } from '#wire/open-tunnels.ts';
import type { GeneratedResponse } from '#wire/respond.ts';
import type { WireError } from '#wire/wire-error.ts';
import type { ActivePolicy } from './active-policy.ts';
import { Asked } from './asked.ts';
import type { CandidateTally } from './candidate-tally.ts';
import type { DecisionLog, OpenRecord } from './decision-log.ts';
import { answerDenial } from './denial-response.ts';
import { applicationFailed } from './failure.ts';
import type { HandleTable } from './handles.ts';
import { removedFields } from './header-rules.ts';
import { leftOf } from './hop.ts';
import { type InboundPeer, isBelieved, isPlaintext, isRouterPeer, notePeer } from './inbound-peer.ts';
import { InboundPlan, joinToApplication } from './inbound-plan.ts';
import { denialOf, internalDenial, Refused } from './refusal.ts';
import { type RequestTrace, readTrace, traceLines } from './request-trace.ts';
import { plaintextRequestPortOf, portOf } from './service-port.ts';
import { checkTokenEntry, tokenTextOf } from './token-entry.ts';
import { ToldToApplication } from './told-to-application.ts';

interface InboundOptions {
  readonly cellId: CellId;
  readonly trustDomain: TrustDomain;
  /** The trust domain of routers. */
  readonly globalTrustDomain: TrustDomain;
  /** Undefined until the first snapshot is here. */
  readonly policy: Watch<ActivePolicy | undefined>;
  /** What is known is older than it may be: nothing can be decided by it (DESIGN.md 7). */
  readonly isStale: (nowMs: number) => boolean;
  /** This instance goes away, and its application may be gone already. */
  readonly isLeaving: () => boolean;
  readonly tokens: TokenVerifier;
  readonly handles: HandleTable;
  readonly decisions: DecisionLog;
  readonly candidates: CandidateTally;
  readonly budgets: Budgets;
  /** Connections to the application. */
  readonly client: Client;
  readonly applicationHost: string;
  readonly onApplicationConnected: (socket: Socket, protocol: Protocol | 'tcp') => void;
  readonly clock: Clock;
  readonly random: Random;
  /** For the application to accept an opaque connection. */
  readonly connectMs: number;
  readonly tunnels: OpenTunnels;
  /** Share of new traces that carry the sampled flag. */
  readonly tracingRatio: number;
  readonly makesSpans: boolean;
  /** Told about what only a mistake of ours can cause. */
  readonly onInternalError: (error: unknown) => void;
}

type InboundAsked = Asked<InboundPeer>;

/** A denial, or undefined once the request is on its way. */
type Ending = Denial | undefined | Promise<Denial | undefined>;

/** Requests of the mesh to this pod's application. */
export class Inbound {
  readonly #options: InboundOptions;
  readonly #told = new ToldToApplication();
  readonly #upstreams = new WeakMap<ServicePort, Upstream>();

  constructor(options: InboundOptions) {
    this.#options = options;
  }

  readonly handle = (exchange: ServerExchange<InboundPeer>): Promise<void> | undefined => {
    const { decisions, clock } = this.#options;
    const nowMs = clock.now();
    const asked = new Asked(decisions, exchange, decisions.begin('inbound', nowMs));
    let ending: Ending;
    try {
      ending = this.#serve(asked, nowMs);
    } catch (error) {
      ending = this.#denialFor(asked, error);
    }
    if (ending instanceof Promise) return this.#awaitEnding(asked, ending);
    if (ending !== undefined) this.#refuse(asked, ending);
    return undefined;
  };

  /** A request whose head could not be read never becomes an exchange; it has its record all the same. */
  refused(error: WireError, peer: InboundPeer): GeneratedResponse {
    const { decisions } = this.#options;
    const record = decisions.begin('inbound');
    notePeer(record, peer);
    return decisions.refused(record, error);
  }

  /**
   * The path of a request, top to bottom. mTLS is behind it: the exchange's context is the verified peer, or one without TLS, of whom nothing is
   * believed. Nothing waits but a connection for its application, and a token that is seen for the first time: once it is `verified`, the path
   * begins anew.
   */
  #serve(asked: InboundAsked, nowMs: number, verified?: VerifiedToken): Ending {
    const { exchange, record } = asked;
    const { request, context: peer } = exchange;
    const { tokens, cellId, trustDomain, globalTrustDomain, clock, budgets } = this.#options;
    const isRouter = isRouterPeer(peer, globalTrustDomain);
    notePeer(record, peer);
    record.method = request.method;
    const trace = readTrace(request, this.#options);
    record.traceId = trace.parent.traceId;
    asked.span = trace.span;

    const isOpaque = request.method === 'CONNECT';
    const target = isOpaque ? noTarget : canonicalTarget(request.path);
    if (!isOpaque) record.path = target.path;

    // Before the token: what cannot be judged for want of keys is no fault of whoever sent it.
    const policy = this.#policyNow(record, nowMs);
    const bringsCustomers = isBelieved(peer, isRouter, trustDomain);
    const text = bringsCustomers ? tokenTextOf(request) : undefined;
    const token = verified ?? (text === undefined ? undefined : tokens.lookup(text, nowMs));
    if (text !== undefined && token === undefined) {
      return tokens.verify(text).then((known) => this.#serve(asked, clock.now(), known));
    }
    if (token !== undefined) {
      noteToken(record, token, policy);
      checkTokenEntry(token, peer, isRouter, cellId);
    }

    const left = isRouter || !bringsCustomers ? undefined : leftOf(request);
    if (left !== undefined) record.left = left.text;

    const port = isPlaintext(peer) ? plaintextRequestPortOf(policy, request, peer.port) : portOf(policy, request);
    if (isOpaque !== (port.protocol === 'tcp')) {
      throw new Refused('protocol_mismatch', 'call', port.protocol, isOpaque ? 'a connection' : 'a request');
    }

    record.port = port.port;
    const { method } = request;
    const facts = { peer: peer.id, isRouter, port: port.port, method, path: target.path, token, left, nowMs };
    const decision = policy.inbound.decide(facts, budgets);
    if (decision.candidate !== undefined) this.#noteCandidate(record, decision.candidate);
    if (decision.outcome === 'deny') return decision;
    notePermit(record, decision);

    if (isOpaque) return this.#connect(asked, facts);
    this.#forward(asked, facts, decision, port, target, trace);
    return undefined;
  }

  #noteCandidate(record: OpenRecord, verdict: CandidateVerdict): void {
    record.candidate = verdict;
    this.#options.candidates.count(verdict);
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

  /** Only with a permit in hand: the application never sees what was denied. */
  #forward(
    asked: InboundAsked,
    facts: InboundRequest,
    permit: InboundPermit,
    port: ServicePort,
    target: CanonicalTarget,
    trace: RequestTrace,
  ) {
    const { exchange, record } = asked;
    const { token, granted } = permit;
    const handle = token === undefined ? undefined : this.#options.handles.handleOf({ token, left: granted });
    // An id is made here: it needs no check.
    const decisionLine = `cellmesh-decision: ${record.id}\r\n`;
    const caller = exchange.context.id;
    const told = caller === unmeshed ? '' : this.#told.lines({ token, caller, granted, handle });
    const append = told + decisionLine + traceLines(trace, handle);
    const request = { drop: removedFields.inboundRequest, append };
    const response = { drop: removedFields.inboundResponse, append: decisionLine };
    const path = target.path + target.query;
    forward(exchange, new InboundPlan(this.#options, asked, facts, this.#upstreamOf(port), path, request, response));
  }

  #upstreamOf(port: ServicePort): Upstream {
    let upstream = this.#upstreams.get(port);
    if (upstream === undefined) {
      const { applicationHost, onApplicationConnected } = this.#options;
      const protocol = port.protocol === 'grpc' ? 'h2' : 'http/1.1';
      upstream = applicationUpstream(applicationHost, port.port, protocol, onApplicationConnected);
      this.#upstreams.set(port, upstream);
    }
    return upstream;
  }

  /** Joins the application to the peer. */
  async #connect({ exchange, record }: InboundAsked, facts: InboundRequest): Promise<undefined> {
    const { applicationHost, clock, connectMs, onApplicationConnected, isLeaving } = this.#options;
    const giveUp = new AbortController();
    exchange.listen({
      onRequestData: () => false,
      onRequestEnd() {},
      onWritable() {},
      onAborted: (e) => giveUp.abort(e),
    });
    let application: Duplex;
    try {
      application = await connectInTime(
        opaqueApplication(applicationHost, facts.port, onApplicationConnected),
        clock,
        connectMs,
        giveUp.signal,
      );
    } catch (error) {
      applicationFailed(exchange, record, error as WireError, isLeaving());
      return;
    }
    if (exchange.ended) application.destroy();
    else {
      const peer = exchange.acceptTunnel(fieldLines({ 'cellmesh-decision': record.id }));
      joinToApplication(this.#options, facts, peer, application);
    }
  }

  async #awaitEnding(asked: InboundAsked, later: Promise<Denial | undefined>): Promise<void> {
    let denial: Denial | undefined;
    try {
      denial = await later;
    } catch (error) {
      denial = this.#denialFor(asked, error);
    }
    if (denial !== undefined) this.#refuse(asked, denial);
  }

  #refuse({ exchange, record }: InboundAsked, denial: Denial): void {
    const { reason, failed, retryAfterMs } = denial;
    record.outcome = 'deny';
    record.reason = reason;
    record.failed = failed;
    // Only a router looks for another cell; anybody else must not take the 421 for one of the application's own.
    const hint = reason === 'wrong_cell' && { 'cellmesh-cell-hint': `this=${this.#options.cellId}` };
    const wait = retryAfterMs !== undefined && { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) };
    answerDenial(exchange, { reason, decisionId: record.id, fields: { ...hint, ...wait } });
  }

  #denialFor({ exchange }: InboundAsked, error: unknown): Denial {
    const denial = denialOf(error);
    if (denial === undefined) {
      this.#options.onInternalError(error);
      return internalDenial;
    }
    const isOtherCell = denial.reason === 'token_audience' || denial.reason === 'token_cell';
    const isRouter = isRouterPeer(exchange.context, this.#options.globalTrustDomain);
    return isRouter && isOtherCell ? { ...denial, reason: 'wrong_cell' } : denial;
  }
}

function noteToken(record: OpenRecord, token: VerifiedToken, { inbound }: ActivePolicy): void {
  record.claims = claimsOf(token, inbound.claimPointers);
  if (token.account !== undefined) record.account = token.account;
}

function notePermit(record: OpenRecord, { rule, granted, audited }: InboundPermit): void {
  record.outcome = 'permit';
  record.granted = granted.text;
  if (rule !== undefined) record.rule = rule;
  if (audited === undefined) return;
  record.isAudited = true;
  record.reason = audited.reason;
  record.failed = audited.failed;
}
