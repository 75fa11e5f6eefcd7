import { parseSpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import type { AccountId } from '#tokens/account-id.ts';
import { type CellId, parseCellId } from '#tokens/cell-id.ts';
import { parseScopeList, type ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { noTarget, parseCanonicalPath } from './canonical-path.ts';
import { assumedToFail, assumedToHold, type Pointer, valueAt } from './claim-condition.ts';
import type { Denial } from './decide.ts';
import type { Budgets, InboundPolicy } from './decide-inbound.ts';
import type { DecisionRecord } from './decision-record.ts';
import { unmeshed } from './peer-pattern.ts';
import { type Reason, reasonsOfRules } from './reasons.ts';
import type { InboundRequest } from './rule.ts';

/** What a policy would have said to a recorded request. */
export type Replayed =
  | { readonly tag: 'allowed'; readonly rule: string | undefined; readonly granted: ScopeSet }
  | { readonly tag: 'denied'; readonly denial: Denial }
  /** The rule would allow it if a claim is what it asks for, and that claim was not recorded. */
  | { readonly tag: 'unknown'; readonly rule: string | undefined; readonly pointers: readonly string[] };

const ofRules: ReadonlySet<Reason | undefined> = new Set<Reason>([...reasonsOfRules, 'limit_reached']);

/** Whether rules of the service asked had a say in a recorded decision, so that other rules could say otherwise. */
export function isOfRules({ direction, outcome, reason, isAudited }: DecisionRecord): boolean {
  return direction === 'inbound' && ((outcome === 'permit' && !isAudited) || ofRules.has(reason));
}

/** What is otherwise than the record says. */
interface Otherwise {
  /** What the hop before says is left. */
  readonly left?: ScopeSet | undefined;
  readonly budgets?: Budgets | undefined;
}

/** Decides a recorded request again. Without `budgets` limits are not counted: what came and went between the records is not known. */
export function replay(policy: InboundPolicy, record: DecisionRecord, otherwise: Otherwise = {}): Replayed {
  const recorded = recordedRequest(record, policy);
  const request = otherwise.left === undefined ? recorded : { ...recorded, left: otherwise.left };
  const missing = new Set<string>();
  const assuming = (what: symbol) =>
    policy.decide({ ...request, claimAt: recordedClaims(record, what, missing) }, otherwise.budgets);
  const atBest = assuming(assumedToHold);
  if (atBest.outcome === 'deny') return { tag: 'denied', denial: atBest };
  const atWorst = missing.size === 0 ? atBest : assuming(assumedToFail);
  if (atWorst.outcome === 'deny') return { tag: 'unknown', rule: atBest.rule, pointers: [...missing] };
  const { rule, granted, audited } = atWorst;
  return { tag: 'allowed', rule: audited === undefined ? rule : undefined, granted };
}

/**
 * The request behind a record of the way in, as policy saw it.
 * @throws CellmeshError `decision_invalid`: a field that policy needs is not in the record
 */
export function recordedRequest(record: DecisionRecord, { snapshot }: InboundPolicy): InboundRequest {
  const { peer, method, path, left, time } = record;
  if (peer === undefined || method === undefined)
    throw new CellmeshError('decision_invalid', `decision ${record.id} lacks the peer or the method`);
  const id = peer === unmeshed ? unmeshed : parseSpiffeId(peer);
  const isRouter = id.startsWith(`spiffe://${snapshot.cell.domain}/`);
  return {
    peer: id,
    isRouter,
    // Records of schema 1 do not say which; most services have one.
    port: record.port ?? snapshot.service.ports[0]!.port,
    method,
    path: path === undefined ? noTarget.path : parseCanonicalPath(path),
    token: recordedToken(record, snapshot.cell.trustDomain),
    left: left === undefined ? undefined : recordedScopes(left),
    nowMs: Date.parse(time),
  };
}

/** As much of a token as its record remembers: enough to decide, nothing to authenticate with. */
function recordedToken({ claims, account }: DecisionRecord, audience: string): VerifiedToken | undefined {
  if (claims === undefined) return undefined;
  const { subject, clientId, tokenId, scope, cellId, generation, actor, issuer = '' } = claims;
  return {
    kind: 'cell',
    issuer,
    kid: '',
    subject,
    audience,
    clientId,
    id: tokenId,
    issuedAt: 0,
    expiresAt: 0,
    scopes: recordedScopes(scope),
    ...(account === undefined ? {} : { account: account as AccountId }),
    ...(cellId === undefined ? {} : { cellId: parseCellId(cellId) as CellId }),
    ...(generation === undefined ? {} : { generation }),
    ...(actor === undefined ? {} : { actor }),
    claims: {},
    text: new Secret(''),
  };
}

/** What a record says of claims: of those that were not recorded `assumed`, and their pointers go to `missing`. */
export function recordedClaims(record: DecisionRecord, assumed: symbol, missing = new Set<string>()) {
  return (pointer: Pointer): unknown => {
    const found = recordedClaim(record, pointer);
    if (found !== unrecorded && !isPseudonym(found)) return found;
    missing.add(pointer.text);
    return assumed;
  };
}

/** Millions of records have a few lists of scopes, and the same sets find their intersections again: a quarter of the time of a replay. */
const scopeLists = new Map<string, ScopeSet>();
const scopeListsMax = 1_000;

/** @throws CellmeshError `scope_invalid` */
export function recordedScopes(text: string): ScopeSet {
  let scopes = scopeLists.get(text);
  if (scopes === undefined) {
    scopes = parseScopeList(text);
    if (scopeLists.size >= scopeListsMax) scopeLists.clear();
    scopeLists.set(text, scopes);
  }
  return scopes;
}

const unrecorded = Symbol('unrecorded');

/** What a store wrote in place of an account id (`--decision-accounts hmac`) says that there was one, and not which. */
function isPseudonym(value: unknown): boolean {
  return typeof value === 'string' && /^hmac-\d+-[0-9a-f]+$/.test(value);
}

/** What a record says of a claim: its value, undefined where the token had none, or `unrecorded`. */
function recordedClaim({ claims = noClaims, account }: DecisionRecord, pointer: Pointer): unknown {
  const { values = {} } = claims;
  for (const [text, [value]] of Object.entries(values)) {
    if (pointer.text === text) return value;
    // Of what was recorded whole, every part is known.
    if (pointer.text.startsWith(`${text}/`)) {
      const rest = pointer.steps.slice(text.split('/').length - 1);
      return valueAt(value, rest);
    }
  }
  const known = {
    sub: claims.subject,
    client_id: claims.clientId,
    jti: claims.tokenId,
    scope: claims.scope,
    account,
    cell_id: claims.cellId,
    gen: claims.generation,
    ...(claims.issuer !== undefined && { iss: claims.issuer }),
  };
  const [first = ''] = pointer.steps;
  return Object.hasOwn(known, first) ? valueAt(known, pointer.steps) : unrecorded;
}

const noClaims = { kind: '', subject: '', clientId: '', tokenId: '', scope: '' };
