import { isRouterId, routerId } from '#certs/reserved-ids.ts';
import { type SpiffeId, trustDomainOf, workloadOf } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { type AccountId, parseAccountId } from '#tokens/account-id.ts';
import { ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import type { CellDocument } from '../cell-document.ts';
import { type Peer, unmeshed } from '../peer-pattern.ts';
import type { ServicePort } from '../service-port.ts';
import { suggestion } from '../suggestion.ts';
import { workloadText } from '../workload-name.ts';
import type { Caller, WrittenRequest } from './case-shapes.ts';
import type { CellAtHand } from './cell-at-hand.ts';

/** A request from one party of a cell to a service of it, before anybody has decided. */
export interface Call {
  readonly peer: Peer;
  readonly isRouter: boolean;
  /** `namespace/service-account` of the peer, for a workload. */
  readonly caller: string | undefined;
  /** `namespace/service-account`; it has a manifest. */
  readonly callee: string;
  readonly port: ServicePort;
  /** The host of the customer's request, where that matters. */
  readonly host: string | undefined;
  /** Bytes that nobody looks into: neither method nor path. */
  readonly isConnection: boolean;
  readonly method: string;
  readonly target: string;
  readonly customer: Customer | undefined;
  readonly isSelf: boolean;
  readonly expectedAccount: AccountId | undefined;
  readonly nowMs: number;
}

/** Whose rights a call has. */
export interface Customer {
  readonly token: VerifiedToken;
  readonly left: ScopeSet;
}

const someAccount = parseAccountId(`AC${'0'.repeat(31)}1`);
const tokenLifetimeMs = 300_000;

/**
 * The call that a written request means.
 * @throws CellmeshError `document_invalid`: the manifests know nothing of what it names
 */
export function callOf(written: WrittenRequest, policies: CellAtHand, nowMs: number): Call {
  const { cell, services } = policies;
  const callee = workloadText(written.to);
  const snapshot = policies.snapshotOf(callee);
  if (snapshot === undefined) throw wrong(`no manifest declares ${callee}${suggestion(callee, services)}`);
  const { method, path, grpc, tcp, token, as, expectAccount, host, time = nowMs } = written;
  const peer = peerOf(written, policies);
  const isRouter = peer !== unmeshed && isRouterId(cell.domain, peer);
  const isOfCell = !isRouter && peer !== unmeshed && trustDomainOf(peer) === cell.trustDomain;
  const caller = isOfCell ? workloadOf(peer) : undefined;
  return {
    ...{ peer, isRouter, caller: caller && workloadText(caller), callee, host },
    port: portOf(written, snapshot.service.ports, isRouter, callee),
    isConnection: tcp === true,
    method: grpc !== undefined ? 'POST' : (method ?? 'CONNECT'),
    target: grpc !== undefined ? `/${grpc}` : (path ?? ''),
    customer: token && peer !== unmeshed ? customerOf(token, { cell, peer, isRouter, nowMs: time }) : undefined,
    isSelf: as === 'self',
    expectedAccount: expectAccount,
    nowMs: time,
  };
}

function peerOf({ from, token }: Pick<WrittenRequest, 'from' | 'token'>, policies: CellAtHand): Peer {
  const { trustDomain, domain, federation } = policies.cell;
  switch (from.kind) {
    case 'router':
      return token?.client_id ?? someRouter(policies.cell);
    case 'unmeshed':
      return unmeshed;
    case 'workload':
      return policies.idOf(from.workload);
    case 'id':
      if (trustDomainOf(from.id) === trustDomain || isRouterId(domain, from.id)) return from.id;
      if (token !== undefined) throw wrong(`${from.id} is of another trust domain: it brings no customer`);
      if (federation.some((one) => one.trustDomain === trustDomainOf(from.id))) return from.id;
      throw wrong(`no connection from ${from.id} is accepted: peers are of ${trustDomain}, or routers of ${domain}`);
  }
}

function portOf(
  { port: number, grpc, tcp }: WrittenRequest,
  ports: readonly ServicePort[],
  isRouter: boolean,
  callee: string,
): ServicePort {
  const [first] = ports;
  if (number !== undefined) {
    const port = ports.find((one) => one.port === number);
    if (port === undefined) throw wrong(`port ${number} is not one of \`ports\` of ${callee}`);
    if (isRouter && port !== first) throw wrong(`routers send to the first of \`ports\` of ${callee}, ${first!.port}`);
    return port;
  }
  const protocol = grpc !== undefined ? 'grpc' : tcp ? 'tcp' : undefined;
  return (!isRouter && ports.find((one) => one.protocol === protocol)) || first!;
}

interface Minting {
  readonly cell: CellDocument;
  readonly peer: SpiffeId;
  readonly isRouter: boolean;
  readonly nowMs: number;
}

function customerOf(written: NonNullable<WrittenRequest['token']>, { cell, peer, isRouter, nowMs }: Minting): Customer {
  const { account = someAccount, sub = account, act, client_id: minter } = written;
  const clientId = minter ?? (isRouter ? peer : someRouter(cell));
  if (!isRouterId(cell.domain, clientId)) throw wrong(`${clientId} is no router: only routers mint tokens`);
  if (isRouter && clientId !== peer) throw wrong(`${peer} brings tokens that it minted itself, not ${clientId}`);
  const unknown = [...written.scopes, ...(written.left ?? [])].find((scope) => !cell.scopes.has(scope));
  if (unknown !== undefined)
    throw wrong(`scope ${unknown} is not in the catalogue${suggestion(unknown, [...cell.scopes.keys()])}`);
  const scopes = ScopeSet.of(written.scopes);
  const claims: Record<string, unknown> = {
    ...{ jti: 'test', iat: Math.floor(nowMs / 1000), exp: Math.floor((nowMs + tokenLifetimeMs) / 1000) },
    ...{ gen: 1, cell_epoch: 1, ...written.claims },
    ...{ iss: cell.tokenIssuer, sub, aud: cell.trustDomain, client_id: clientId, scope: scopes.text },
    ...{ account, cell_id: cell.id, ...(act && { act }) },
  };
  const token: VerifiedToken = {
    ...{ kind: 'cell', issuer: cell.tokenIssuer, kid: 'test', subject: sub, audience: cell.trustDomain, clientId },
    ...{ id: String(claims['jti']), issuedAt: nowMs, expiresAt: nowMs + tokenLifetimeMs, scopes, account },
    ...{ cellId: cell.id, ...(act && { actor: act.sub }), claims, text: new Secret('') },
  };
  return { token, left: written.left === undefined ? scopes : ScopeSet.of(written.left) };
}

function someRouter({ domain }: CellDocument): SpiffeId {
  return routerId(domain, 'some', 'router');
}

/** As it was written. */
export function callerText(from: Caller): string {
  switch (from.kind) {
    case 'router':
    case 'unmeshed':
      return from.kind;
    case 'workload':
      return workloadText(from.workload);
    case 'id':
      return from.id;
  }
}

function wrong(message: string): CellmeshError {
  return new CellmeshError('document_invalid', message);
}
