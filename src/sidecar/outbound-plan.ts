import type { Duplex } from 'node:stream';
import type { Endpoint } from '#net/endpoints.ts';
import type { CallTimeouts } from '#policy/call-traffic.ts';
import type { OutboundRequest } from '#policy/decide-outbound.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import type { Attempts } from '#traffic/attempts.ts';
import type { Client, Upstream } from '#wire/exchange.ts';
import { fieldIds } from '#wire/field-names.ts';
import type { FieldEdit, ForwardPlan } from '#wire/forward.ts';
import type { MeshUpstreams } from '#wire/mesh-upstreams.ts';
import type { ResponseHead } from '#wire/message.ts';
import type { OpenTunnels } from '#wire/open-tunnels.ts';
import type { WireError } from '#wire/wire-error.ts';
import type { ActivePolicy } from './active-policy.ts';
import type { Asked } from './asked.ts';
import { answerFailure } from './failure.ts';
import { removedFields } from './header-rules.ts';
import { hearGrpcStatus } from './request-span.ts';

/** What leads to callees, for all requests. */
interface CalleeSide {
  readonly clock: Clock;
  readonly policy: Watch<ActivePolicy | undefined>;
  readonly tunnels: OpenTunnels;
}

/** What is sent of a permitted request, whichever instance takes it. */
export interface Outgoing {
  readonly authority: string;
  /** Path and query. */
  readonly target: string;
  readonly append: string;
}

/** How a permitted request goes on. */
export interface Way {
  readonly mesh: MeshUpstreams;
  readonly attempts: Attempts<Endpoint, Upstream>;
  readonly upstream: Upstream;
  readonly timeouts?: CallTimeouts | undefined;
}

const decisionFieldId = fieldIds['cellmesh-decision'];
const idLengthMax = 80;
/** To search for one of these is faster than to match all others. */
const foreignToIds = /[^a-z0-9.-]/;

/** How one permitted request reaches its callee. An object with methods: closures would cost each request some hundred bytes. */
export class OutboundPlan implements ForwardPlan {
  readonly client: Client;
  readonly clock: Clock;
  readonly upstream: Upstream;
  readonly retry: Attempts<Endpoint, Upstream>;
  readonly timeouts: CallTimeouts | undefined;
  readonly target: string;
  readonly authority: string;
  readonly request: FieldEdit;
  readonly onGrpcStatus: ForwardPlan['onGrpcStatus'];
  readonly #side: CalleeSide;
  readonly #asked: Asked<unknown>;
  readonly #asking: OutboundRequest;

  constructor(side: CalleeSide, asked: Asked<unknown>, asking: OutboundRequest, outgoing: Outgoing, way: Way) {
    this.client = way.mesh.pool;
    this.clock = side.clock;
    this.upstream = way.upstream;
    this.retry = way.attempts;
    this.timeouts = way.timeouts;
    this.target = outgoing.target;
    this.authority = outgoing.authority;
    this.request = { drop: removedFields.outboundRequest, append: outgoing.append };
    this.onGrpcStatus = hearGrpcStatus(asked.span);
    this.#side = side;
    this.#asked = asked;
    this.#asking = asking;
  }

  /** The application learns the id of whoever decided last: of the callee's sidecar where the request got there. */
  editResponse(head: ResponseHead): FieldEdit {
    const theirs = head.fieldById(decisionFieldId);
    const id = theirs !== undefined && isDecisionId(theirs) ? theirs : this.#asked.record.id;
    // Neither needs another check.
    return { drop: removedFields.outboundResponse, append: `cellmesh-decision: ${id}\r\n` };
  }

  onTunnel(application: Duplex, callee: Duplex): void {
    joinToCallee(this.#side, this.#asking, application, callee);
  }

  onFailed(error: WireError): void {
    answerFailure(this.#asked.exchange, this.#asked.record, error);
  }
}

function isDecisionId(text: string): boolean {
  return text !== '' && text.length <= idLengthMax && !foreignToIds.test(text);
}

/** Whether it may go on is asked again with every policy. */
export function joinToCallee(
  { tunnels, policy }: CalleeSide,
  asking: OutboundRequest,
  application: Duplex,
  callee: Duplex,
): void {
  const { id } = asking.call.source;
  const isStillAllowed = () => {
    const { outbound } = policy.current ?? {};
    const call = outbound?.calls.find(({ source }) => source.id === id);
    return call !== undefined && outbound?.decide({ ...asking, call }).outcome === 'permit';
  };
  tunnels.join(application, callee, { isStillAllowed });
}
