import { isDeepStrictEqual } from 'node:util';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { DecisionRecord } from '../decision-record.ts';
import { isOfRules } from '../replay.ts';
import type { CellPolicies } from './cell-policies.ts';
import { decideEdgeAgain } from './decide-edge-again.ts';
import { decideInboundAgain, type Versions } from './decide-inbound-again.ts';
import { decideOutboundAgain } from './decide-outbound-again.ts';
import { FlowChange } from './scope-flow.ts';
import { recordedVerdict, type Verdict } from './verdict.ts';

export const kinds = ['newlyDenied', 'newlyAllowed', 'unknown'] as const;
export type ChangeKind = (typeof kinds)[number];

/** What both versions say, where that differs. */
interface Change {
  readonly kind: ChangeKind;
  readonly before: Verdict;
  readonly after: Verdict;
}

type Compared =
  | { readonly tag: 'same'; readonly after: Verdict | undefined }
  /** Settled before any manifest had a say: nothing to compare. */
  | { readonly tag: 'settled' }
  | { readonly tag: 'changed'; readonly change: Change };

/** The manifests that a comparison is about. */
interface Compare {
  readonly after: CellPolicies;
  /** Those that were in force when the records were made, where they are known. */
  readonly inForce: CellPolicies | undefined;
  /** What is compared with, where it is not what was decided. */
  readonly from: CellPolicies | undefined;
}

/**
 * Decides records of one time again.
 *
 * What is compared: what the record says was decided, or what the manifests `from` say of it, with what `after` says. Each record is one
 * hop's: of the callee's sidecar on the way in, of the caller's on the way out, of a router at the edge. A request that either side would refuse
 * now is a newly denied record of that side.
 *
 * On the way in the whole of the callee's new policy is asked: rules, ports, mode, ceiling, and whether the caller declares the call. What is left
 * of the token's scopes is what the caller's sidecar said then, less what the caller carries no longer, less what was lost before it; and more by
 * what it may carry now, as far as the token has it and it can have come to the caller. Where it is not certain which, the answer is `unknown`,
 * unless it is the same either way (see FlowChange).
 *
 * On the way out: whether the caller has a manifest and declares the call, whether a call without a customer may go on so, whether a route became
 * sensitive. What the caller refused then and would send now is decided at the callee.
 *
 * Never known, and so `unknown` where it decides: claims that were not recorded, what the application said beside its call, by which of its
 * hosts a service was called when one is gone. Limits are not counted. Verdicts that no manifest changes are passed over: tokens and
 * certificates that do not hold, unclean HTTP, hosts that nobody has.
 */
export class Comparison {
  readonly #compare: Compare;
  readonly #after: Versions;
  readonly #from: Versions | undefined;
  /** From what is compared with. */
  readonly #flow: FlowChange;
  /** By service; and by what is asked and who asks. */
  readonly #unaffected = new Map<string, boolean>();

  constructor(compare: Compare) {
    const { after, inForce, from } = compare;
    this.#compare = compare;
    this.#after = { after, before: inForce, flow: new FlowChange(inForce, after) };
    this.#from = from && { after: from, before: inForce, flow: new FlowChange(inForce, from) };
    this.#flow = from === undefined ? this.#after.flow : new FlowChange(from, after);
  }

  /** @throws CellmeshError: the record cannot be read, by the code of what is wrong in it */
  compare(record: DecisionRecord): Compared {
    if (this.#isUnaffected(record)) return { tag: 'same', after: undefined };
    const before = this.#from === undefined ? recordedVerdict(record) : verdictOf(record, this.#from);
    const after = before && verdictOf(record, this.#after);
    if (before === undefined || after === undefined) return { tag: 'settled' };
    const kind = kindOf(before, after);
    return kind === undefined ? { tag: 'same', after } : { tag: 'changed', change: { kind, before, after } };
  }

  /** Whether all that decides is as it was, whatever it says. */
  #isUnaffected({ direction, service, callee, peer }: DecisionRecord): boolean {
    const { after, inForce, from: before = inForce } = this.#compare;
    if (before === undefined) return false;
    if (before.version === after.version) return true;
    if (direction === 'edge') return false;
    const [from, to] = direction === 'inbound' ? [peer, service] : [service, callee];
    return this.#once(`${direction} ${from} ${to}`, () => {
      if (to === undefined || !this.#isSameService(to)) return false;
      if (direction === 'outbound') return this.#isSameService(from!);
      const caller = from as SpiffeId;
      const { id } = after.snapshotOf(to)!.service;
      return (
        before.snapshots.has(caller) === after.snapshots.has(caller) &&
        isDeepStrictEqual(before.call(caller, id), after.call(caller, id)) &&
        (!after.snapshots.has(caller) || this.#flow.isSame(caller, id))
      );
    });
  }

  #isSameService(service: string): boolean {
    const { after, inForce, from: before = inForce } = this.#compare;
    return this.#once(service, () => {
      const [then, now] = [before!.snapshotOf(service), after.snapshotOf(service)];
      return then !== undefined && now !== undefined && isDeepStrictEqual({ ...then, version: now.version }, now);
    });
  }

  #once(key: string, find: () => boolean): boolean {
    const known = this.#unaffected.get(key);
    if (known !== undefined) return known;
    const found = find();
    // There are as many as edges; what records invent must not fill the memory.
    if (this.#unaffected.size < pairsMax) this.#unaffected.set(key, found);
    return found;
  }
}

const pairsMax = 100_000;

/** Undefined: manifests have no say in it. */
function verdictOf(record: DecisionRecord, versions: Versions): Verdict | undefined {
  switch (record.direction) {
    case 'inbound':
      if (record.service === undefined || !(isOfRules(record) || record.isAudited)) return undefined;
      return decideInboundAgain(record, versions);
    case 'outbound':
      return decideOutboundAgain(record, versions);
    case 'edge':
      return decideEdgeAgain(record, versions.after);
  }
}

function kindOf(before: Verdict, after: Verdict): ChangeKind | undefined {
  if (before.tag === 'unknown' || after.tag === 'unknown') return 'unknown';
  if (before.tag === after.tag) return undefined;
  return after.tag === 'denied' ? 'newlyDenied' : 'newlyAllowed';
}
