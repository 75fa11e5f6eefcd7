import { type SpiffeId, trustDomainOf } from '#certs/spiffe-id.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { shortName } from '../decision-line.ts';
import type { DecisionRecord } from '../decision-record.ts';
import { isForeign } from '../federation.ts';
import { unmeshed } from '../peer-pattern.ts';
import { recordedRequest } from '../replay.ts';
import type { CellPolicies } from './cell-policies.ts';
import { type ChangeKind, Comparison, kinds } from './change-of.ts';
import { Accounts, accountsOfKindMax, type Count, type Group, type GroupKey, Groups } from './groups.ts';
import type { Verdict } from './verdict.ts';

interface ChangeTotal {
  readonly decisions: number;
  readonly accounts: Count;
  readonly groups: number;
  /** Decisions of groups past the bound. */
  readonly others: number;
}

/** What a change of manifests does to recorded decisions. */
export interface Plan {
  /** Of the new manifests. */
  readonly version: string;
  /** Decisions that were read. */
  readonly decisions: number;
  /** Of the first and the last of them. */
  readonly since?: string;
  readonly until?: string;
  readonly newlyDenied: ChangeTotal;
  readonly newlyAllowed: ChangeTotal;
  readonly unknown: ChangeTotal;
  /** Settled before any manifest had a say. */
  readonly settled: number;
  /** Of other forms than this version reads. */
  readonly unreadable: number;
  /** Allowed now by a rule with limits, which are not counted. */
  readonly underLimits: number;
  readonly groups: readonly Group[];
}

interface Total {
  decisions: number;
  readonly accounts: Accounts;
}

/** Takes recorded decisions one after the other, in memory that does not grow with them. */
export class Planner {
  readonly #after: CellPolicies;
  readonly #from: CellPolicies | undefined;
  /** By the manifests of then; as long as those are kept. */
  readonly #comparisons = new WeakMap<CellPolicies, Comparison>();
  readonly #ofUnknown: Comparison;
  readonly #groups = new Groups();
  readonly #limitedRules: ReadonlySet<string>;
  readonly #totals = Object.fromEntries(
    kinds.map((kind): [ChangeKind, Total] => [kind, { decisions: 0, accounts: new Accounts(accountsOfKindMax) }]),
  ) as Record<ChangeKind, Total>;
  readonly #counts = { decisions: 0, settled: 0, unreadable: 0, underLimits: 0 };
  #since: string | undefined;
  #until: string | undefined;

  /** @param from what is compared with, where it is not what was decided */
  constructor(after: CellPolicies, from?: CellPolicies) {
    this.#after = after;
    this.#from = from;
    this.#ofUnknown = new Comparison({ after, inForce: undefined, from });
    this.#limitedRules = new Set(
      [...after.snapshots.values()].flatMap(({ service, rules }) =>
        rules.filter(({ limits }) => limits.length > 0).map((rule) => `${service.name} ${rule.name}`),
      ),
    );
  }

  /** @param then the manifests that were in force then, where they are known; otherwise those that are compared with are taken for them */
  add(record: DecisionRecord, then: CellPolicies | undefined): void {
    const { time, service } = record;
    this.#counts.decisions++;
    if (this.#since === undefined || time < this.#since) this.#since = time;
    if (this.#until === undefined || time > this.#until) this.#until = time;
    try {
      const isOfAfter = then === undefined && record.policyVersion === this.#after.version;
      const compared = this.#comparison(isOfAfter ? this.#after : (then ?? this.#from)).compare(record);
      if (compared.tag === 'settled') this.#counts.settled++;
      else if (compared.tag === 'changed') this.#note(record, compared.change);
      const after = compared.tag === 'changed' ? compared.change.after : compared.tag === 'same' && compared.after;
      if (after && after.tag === 'allowed' && this.#limitedRules.has(`${service} ${after.rule}`))
        this.#counts.underLimits++;
    } catch (error) {
      if (!isCellmeshError(error)) throw error;
      this.#counts.unreadable++;
    }
  }

  plan(): Plan {
    const groups = this.#groups.sorted();
    const totalOf = (kind: ChangeKind): ChangeTotal => ({
      decisions: this.#totals[kind].decisions,
      accounts: this.#totals[kind].accounts.count,
      groups: groups.filter(({ change }) => change === kind).length,
      others: this.#groups.others[kind],
    });
    return {
      version: this.#after.version,
      ...this.#counts,
      ...(this.#since !== undefined && { since: this.#since }),
      ...(this.#until !== undefined && { until: this.#until }),
      newlyDenied: totalOf('newlyDenied'),
      newlyAllowed: totalOf('newlyAllowed'),
      unknown: totalOf('unknown'),
      groups,
    };
  }

  #comparison(then: CellPolicies | undefined): Comparison {
    if (then === undefined) return this.#ofUnknown;
    let found = this.#comparisons.get(then);
    if (found === undefined) {
      found = new Comparison({ after: this.#after, inForce: then, from: this.#from });
      this.#comparisons.set(then, found);
    }
    return found;
  }

  #note(record: DecisionRecord, { kind, before, after }: { kind: ChangeKind; before: Verdict; after: Verdict }): void {
    const total = this.#totals[kind];
    total.decisions++;
    if (record.account !== undefined) total.accounts.add(record.account, true);
    this.#groups.add(this.#keyOf(record, kind, before, after), record);
  }

  #keyOf(record: DecisionRecord, change: ChangeKind, before: Verdict, after: Verdict): GroupKey {
    const { direction: at, service = '-', callee = '-', peer } = record;
    const sides = {
      inbound: { service, peer: this.#callerName(peer) },
      outbound: { service: callee, peer: service },
      edge: { service: callee.replace(/^\S+ /, ''), peer: 'router' },
    }[at];
    const failed = after.tag === 'denied' ? after.failed : undefined;
    const scopes = record.granted ?? this.#scopesOf(record, after);
    return { change, at, ...sides, before: inWords(before), after: inWords(after), scopes, ...(failed && { failed }) };
  }

  /** Routers are one caller, however many there are; a workload of others goes by its whole ID. */
  #callerName(peer: string | undefined): string {
    const [snapshot] = this.#after.snapshots.values();
    if (peer === undefined || peer === unmeshed || snapshot === undefined) return shortName(peer);
    const domain = trustDomainOf(peer as SpiffeId);
    const name = isForeign(domain, snapshot.cell) ? peer : shortName(peer);
    return name.startsWith('router/') ? 'router' : name;
  }

  /** What would be granted now to whom nothing was granted then. */
  #scopesOf(record: DecisionRecord, after: Verdict): string {
    if (after.tag === 'allowed' && after.granted !== undefined) return after.granted.text;
    const policy = record.direction === 'inbound' ? this.#after.inbound(record.service ?? '') : undefined;
    return policy === undefined
      ? (record.left ?? record.claims?.scope ?? '')
      : policy.grantedTo(recordedRequest(record, policy)).text;
  }
}

function inWords(verdict: Verdict): string {
  switch (verdict.tag) {
    case 'allowed':
      return verdict.rule === undefined ? 'allowed' : `rule ${verdict.rule}`;
    case 'denied':
      return verdict.reason;
    case 'unknown':
      return verdict.lacking.join('; ');
  }
}
