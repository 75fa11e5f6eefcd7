import type { Duplex } from 'node:stream';
import type { InboundRequest } from '#policy/rule.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import type { Client, Upstream } from '#wire/exchange.ts';
import type { FieldEdit, ForwardPlan } from '#wire/forward.ts';
import type { OpenTunnels } from '#wire/open-tunnels.ts';
import type { WireError } from '#wire/wire-error.ts';
import type { ActivePolicy } from './active-policy.ts';
import type { Asked } from './asked.ts';
import { applicationFailed } from './failure.ts';
import { hearGrpcStatus } from './request-span.ts';

/** What leads to the application, for all requests. */
interface ApplicationSide {
  /** Connections to the application. */
  readonly client: Client;
  readonly clock: Clock;
  readonly policy: Watch<ActivePolicy | undefined>;
  readonly tunnels: OpenTunnels;
  readonly isLeaving: () => boolean;
}

/** A stream may outlive the token that it began with by so much (DESIGN.md 5). */
const streamMaxMs = 3_600_000;

/** How one permitted request reaches the application. An object with methods: closures would cost each request some hundred bytes. */
export class InboundPlan implements ForwardPlan {
  readonly client: Client;
  readonly clock: Clock;
  readonly upstream: Upstream;
  readonly target: string;
  readonly request: FieldEdit;
  readonly onGrpcStatus: ForwardPlan['onGrpcStatus'];
  readonly #side: ApplicationSide;
  readonly #asked: Asked<unknown>;
  readonly #facts: InboundRequest;
  readonly #response: FieldEdit;

  /** `request` and `response`: what is taken off and put on. */
  constructor(
    side: ApplicationSide,
    asked: Asked<unknown>,
    facts: InboundRequest,
    upstream: Upstream,
    target: string,
    request: FieldEdit,
    response: FieldEdit,
  ) {
    this.client = side.client;
    this.clock = side.clock;
    this.upstream = upstream;
    this.target = target;
    this.request = request;
    this.onGrpcStatus = hearGrpcStatus(asked.span);
    this.#side = side;
    this.#asked = asked;
    this.#facts = facts;
    this.#response = response;
  }

  editResponse(): FieldEdit {
    return this.#response;
  }

  onTunnel(peer: Duplex, application: Duplex): void {
    joinToApplication(this.#side, this.#facts, peer, application);
  }

  onFailed(error: WireError): void {
    const { exchange, record } = this.#asked;
    applicationFailed(exchange, record, error, this.#side.isLeaving());
  }
}

/** What passes is not looked at; whether it may is asked again with every policy, and no longer than a while after the token has ended. */
export function joinToApplication(
  { tunnels, policy, clock }: Omit<ApplicationSide, 'client' | 'isLeaving'>,
  facts: InboundRequest,
  peer: Duplex,
  application: Duplex,
): void {
  const endsInMs = facts.token && facts.token.expiresAt - clock.now() + streamMaxMs;
  const isStillAllowed = () => policy.current?.inbound.decide({ ...facts, nowMs: clock.now() }).outcome === 'permit';
  tunnels.join(peer, application, { isStillAllowed, ...(endsInMs !== undefined && { endsInMs }) });
}
