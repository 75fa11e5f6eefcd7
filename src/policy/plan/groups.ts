import type { FailedCondition } from '../decide.ts';
import type { DecisionRecord } from '../decision-record.ts';
import type { ChangeKind } from './change-of.ts';

/** What groups of decisions have in common: all that changed in the same way for the same reason. */
export interface GroupKey {
  readonly change: ChangeKind;
  /** Which sidecar decides: that of the callee, that of the caller, or a router. */
  readonly at: DecisionRecord['direction'];
  /** `namespace/service-account` of the service asked. */
  readonly service: string;
  /** Who calls: `namespace/service-account`, another SPIFFE ID, or `router`. */
  readonly peer: string;
  /** The rule that allowed it then, or the reason for which it was refused. */
  readonly before: string;
  /** The rule that allows it now, the reason for which it is refused, or what is not known. */
  readonly after: string;
  /** The rule that comes nearest, and what fails there; where it is refused now. */
  readonly failed?: FailedCondition | undefined;
  /** The scopes in force at this hop. */
  readonly scopes: string;
}

interface Example {
  /** For `cellmesh explain`. */
  readonly id: string;
  readonly time: string;
  readonly account?: string | undefined;
  /** Method and path. */
  readonly request: string;
}

/** `isExact: false`: there are at least as many. */
export interface Count {
  readonly count: number;
  readonly isExact: boolean;
}

export interface Group extends GroupKey {
  readonly decisions: number;
  readonly accounts: Count;
  /** The first ones. */
  readonly examples: readonly Example[];
}

export const groupsMax = 10_000;
export const accountsOfGroupMax = 10_000;
/** Of all groups together: some 30 MB. */
export const accountsMax = 250_000;
/** Of all that are newly denied, newly allowed or unknown. */
export const accountsOfKindMax = 100_000;
const examplesMax = 3;

/** Counts distinct accounts, until they are too many. */
export class Accounts {
  readonly #seen = new Set<string>();
  readonly #max: number;
  #isExact = true;

  constructor(max = accountsOfGroupMax) {
    this.#max = max;
  }

  /** Whether it took memory for one more. */
  add(account: string, isRoom: boolean): boolean {
    if (this.#seen.has(account)) return false;
    if (isRoom && this.#seen.size < this.#max) {
      this.#seen.add(account);
      return true;
    }
    this.#isExact = false;
    return false;
  }

  get count(): Count {
    return { count: this.#seen.size, isExact: this.#isExact };
  }
}

interface OpenGroup {
  readonly key: GroupKey;
  readonly accounts: Accounts;
  readonly examples: Example[];
  decisions: number;
}

/** Decisions by what they have in common, in bounded memory: of the groups past the bound only the decisions are counted. */
export class Groups {
  readonly #groups = new Map<string, OpenGroup>();
  readonly #others: Record<ChangeKind, number> = { newlyDenied: 0, newlyAllowed: 0, unknown: 0 };
  #accounts = 0;

  add(key: GroupKey, record: DecisionRecord): void {
    const group = this.#groupOf(key);
    if (group === undefined) {
      this.#others[key.change]++;
      return;
    }
    const { id, time, account, method = '-', path } = record;
    group.decisions++;
    if (account !== undefined && group.accounts.add(account, this.#accounts < accountsMax)) this.#accounts++;
    if (group.examples.length < examplesMax) {
      const request = path === undefined ? `${method} (a connection)` : `${method} ${path}`;
      group.examples.push({ id, time, request, ...(account !== undefined && { account }) });
    }
  }

  /** Those that concern most accounts first, then those of most decisions. */
  sorted(): Group[] {
    return [...this.#groups.values()]
      .map(({ key, accounts, examples, decisions }) => ({ ...key, decisions, accounts: accounts.count, examples }))
      .sort((a, b) => b.accounts.count - a.accounts.count || b.decisions - a.decisions);
  }

  /** Decisions of groups that found no place. */
  get others(): Readonly<Record<ChangeKind, number>> {
    return this.#others;
  }

  #groupOf(key: GroupKey): OpenGroup | undefined {
    const { change, at, service, peer, before, after, failed, scopes } = key;
    const text = [change, at, service, peer, before, after, failed?.rule, failed?.condition, scopes].join('\n');
    let group = this.#groups.get(text);
    if (group === undefined && this.#groups.size < groupsMax) {
      group = { key, accounts: new Accounts(), examples: [], decisions: 0 };
      this.#groups.set(text, group);
    }
    return group;
  }
}
