import type { Endpoint } from '#net/endpoints.ts';
import { type CanonicalTarget, canonicalTarget, PathRejected } from '#policy/canonical-path.ts';
import { type Denial, deny } from '#policy/decide.ts';
import type { OpenRecord } from '#policy/open-record.ts';
import type { Reason } from '#policy/reasons.ts';
import { findRoute, type Route } from '#policy/routes.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import type { Secret } from '#runtime/secret.ts';
import type { AccountMap } from '#tokens/account-map.ts';
import type { ApiKeyStatus } from '#tokens/key-status.ts';
import { Attempts, noRetries } from '#traffic/attempts.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import { fieldLines } from '#wire/field-lines.ts';
import { fieldSet } from '#wire/field-names.ts';
import { type FieldEdit, forward } from '#wire/forward.ts';
import type { ResponseHead } from '#wire/message.ts';
import type { GeneratedResponse } from '#wire/respond.ts';
import type { WireError } from '#wire/wire-error.ts';
import type { Authentication, Authenticator } from './authenticate.ts';
import type { CellLink } from './cell-link.ts';
import type { CellTokens } from './cell-tokens.ts';
import type { Cells } from './cells.ts';
import { answerDenial, answerFailure } from './edge-answer.ts';
import type { EdgeDecisions } from './edge-decisions.ts';

/** What is known of a customer's connection. */
export interface EdgeClient {
  readonly address: string;
}

interface EdgeOptions {
  readonly authenticator: Authenticator;
  readonly accounts: () => AccountMap | undefined;
  readonly cells: Cells;
  readonly tokens: CellTokens;
  readonly decisions: EdgeDecisions;
  readonly clock: Clock;
  readonly random: Random;
  readonly onInternalError: (error: unknown) => void;
}

interface Asked {
  readonly exchange: ServerExchange<EdgeClient>;
  readonly record: OpenRecord;
}

/** Ends the path of a request with an answer of the router's own. */
class Refused extends Error {
  readonly denial: Denial;
  readonly retryAfterSeconds: number | undefined;

  constructor(reason: Reason, expected: string, actual: string, retryAfterSeconds?: number) {
    super(reason);
    this.denial = deny(reason, { condition: 'call', expected, actual });
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/**
 * What customers must not say: anything in our own name, anything that names who they are, and the credentials, which end here. Names
 * with an underscore go for the servers that fold them into those with a dash.
 */
const removedFromRequest = fieldSet(
  'authorization',
  'cellmesh-*',
  '*_*',
  'x-forwarded-client-cert',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'forwarded',
  'retry-attempt',
);
const removedFromResponse = fieldSet('cellmesh-*', 'x-forwarded-client-cert');
const decisionIdPattern = /^[a-z0-9.-]{1,80}$/;

/** Requests of customers, on their way into a cell. */
export class Edge {
  readonly #options: EdgeOptions;

  constructor(options: EdgeOptions) {
    this.#options = options;
  }

  readonly handle = async (exchange: ServerExchange<EdgeClient>): Promise<void> => {
    const { decisions } = this.#options;
    const record = decisions.begin();
    exchange.endListener = { onEnd: (outcome) => decisions.end(record, outcome) };
    try {
      await this.#serve({ exchange, record });
    } catch (error) {
      this.#refuse({ exchange, record }, this.#refusalOf(error));
    }
  };

  /** A request whose head could not be read. */
  refused(error: WireError): GeneratedResponse {
    return this.#options.decisions.refused(error);
  }

  /** The path of a request, top to bottom. */
  async #serve(asked: Asked): Promise<void> {
    const { exchange, record } = asked;
    const { request, context } = exchange;
    record.method = request.method;
    if (request.method === 'CONNECT') throw new Refused('message_malformed', 'a request', 'CONNECT');

    const target = canonicalTarget(request.path);
    record.path = target.path;

    const host = hostOf(request.authority);
    const authentication = await this.#options.authenticator.authenticate(
      request.field('authorization'),
      context.address,
    );
    const key = authentication.tag === 'missing' ? undefined : keyOf(authentication);
    if (key !== undefined) {
      record.account = key.accountId;
      if (authentication.tag === 'known' && authentication.degraded !== undefined)
        record.degraded = authentication.degraded;
    }

    const cell = key === undefined ? this.#openCell(host, target) : this.#cellOf(key);
    const route = routeOf(cell, host, target);
    record.callee = `${cell.cell.cellId} ${route.service}`;
    if (route.auth === 'required' && key === undefined)
      throw new Refused('credentials_missing', 'Authorization: Basic', 'none');

    const token = key === undefined ? undefined : await this.#tokenFor(key, cell);
    record.outcome = 'permit';
    record.rule = `expose ${route.hosts[0]}`;
    record.granted = key?.scopes.text ?? '';
    this.#forward(asked, cell, route, target, token);
  }

  #cellOf({ accountId }: ApiKeyStatus): CellLink {
    const place = this.#options.accounts()?.get(accountId);
    const cell = place && this.#options.cells.get(place.cellId);
    if (cell === undefined) throw new Refused('account_unplaced', 'a cell for the account', place?.cellId ?? 'none', 2);
    return cell;
  }

  /** Without credentials nobody says which cell is meant: the first that exposes this without asking for any. */
  #openCell(host: string, { path }: CanonicalTarget): CellLink {
    const candidates = this.#options.cells
      .all()
      .filter(({ routes }) => routes !== undefined && findRoute(routes, host, path) !== undefined);
    const cell = candidates[0];
    if (cell === undefined) throw new Refused('route_unknown', 'a route that a cell exposes', `${host} ${path}`);
    return cell;
  }

  #tokenFor(key: ApiKeyStatus, cell: CellLink): Promise<Secret<string>> {
    const place = this.#options.accounts()!.get(key.accountId)!;
    return this.#options.tokens.tokenFor(key, place, cell.cell);
  }

  #forward(
    { exchange, record }: Asked,
    cell: CellLink,
    route: Route,
    target: CanonicalTarget,
    token: Secret<string> | undefined,
  ): void {
    const { clock, random } = this.#options;
    const retry = new Attempts({
      balancer: cell.balancers.of(route.id),
      rule: noRetries,
      random,
      upstreamOf: (instance: Endpoint) => cell.mesh.to(route.id, instance),
    });
    const upstream = retry.first();
    if (upstream === undefined)
      throw new Refused('upstream_unreachable', `an instance of ${route.service}`, 'none is known', 1);
    forward(exchange, {
      client: cell.mesh.pool,
      clock,
      upstream,
      retry,
      target: target.path + target.query,
      authority: route.authority,
      request: { drop: removedFromRequest, append: requestFields(exchange, token) },
      editResponse: (head) => responseEdit(head, record),
      onTunnel: (customer, mesh) => cell.tunnels.join(customer, mesh),
      onFailed: (error) => answerFailure(exchange, record, error),
    });
  }

  #refusalOf(error: unknown): Refused {
    if (error instanceof Refused) return error;
    if (error instanceof PathRejected) return new Refused(error.reason, 'a path with one reading', error.message);
    this.#options.onInternalError(error);
    return new Refused('internal', 'no error in the router', 'see its log');
  }

  #refuse({ exchange, record }: Asked, { denial, retryAfterSeconds }: Refused): void {
    record.outcome = 'deny';
    record.reason = denial.reason;
    record.failed = denial.failed;
    answerDenial(exchange, { reason: denial.reason, decisionId: record.id, retryAfterSeconds });
  }
}

/** @throws Refused unless the key is known */
function keyOf(authentication: Exclude<Authentication, { tag: 'missing' }>): ApiKeyStatus {
  switch (authentication.tag) {
    case 'known':
      return authentication.key;
    case 'rejected':
      throw new Refused('credentials_rejected', 'an account and a key of it that may be used', authentication.why);
    case 'unavailable':
      throw new Refused(
        'identity_unavailable',
        'a word of identity about the key',
        authentication.why,
        authentication.retryAfterSeconds,
      );
    case 'limited':
      throw new Refused(
        'rate_limited',
        'fewer first uses of keys from one address',
        'more',
        authentication.retryAfterSeconds,
      );
  }
}

/** @throws Refused */
function routeOf(cell: CellLink, host: string, { path }: CanonicalTarget): Route {
  if (cell.routes === undefined)
    throw new Refused('upstream_unreachable', `the routes of ${cell.cell.cellId}`, 'not told yet', 2);
  const route = findRoute(cell.routes, host, path);
  if (route === undefined)
    throw new Refused('route_unknown', `a route that ${cell.cell.cellId} exposes`, `${host} ${path}`);
  return route;
}

function requestFields({ context, request }: ServerExchange<EdgeClient>, token: Secret<string> | undefined): string {
  return fieldLines({
    'cellmesh-token': token?.reveal(),
    'x-forwarded-for': context.address,
    'x-forwarded-host': request.authority,
    'x-forwarded-proto': 'https',
  });
}

/** The customer learns the id of whoever decided last: of the sidecar where the request got there. */
function responseEdit(head: ResponseHead, record: OpenRecord): FieldEdit {
  if (head.status === 421 && head.fieldCount('cellmesh-cell-hint') > 0) record.reason = 'wrong_cell';
  const theirs = head.field('cellmesh-decision');
  const id = theirs !== undefined && decisionIdPattern.test(theirs) ? theirs : record.id;
  return { drop: removedFromResponse, append: fieldLines({ 'cellmesh-decision': id }) };
}

function hostOf(authority: string): string {
  const host = authority.startsWith('[') ? authority.slice(0, authority.indexOf(']') + 1) : authority.split(':', 1)[0]!;
  return host.endsWith('.') ? host.slice(0, -1) : host;
}
