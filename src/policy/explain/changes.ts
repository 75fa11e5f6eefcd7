import { workloadOf } from '#certs/spiffe-id.ts';
import type { Scope, ScopeSet } from '#tokens/scope.ts';
import type { Asked } from '../cases/decide-call.ts';
import { ceilingsOf } from '../ceiling.ts';
import type { CellDocument } from '../cell-document.ts';
import type { Condition } from '../decide.ts';
import { type Peer, unmeshed } from '../peer-pattern.ts';
import { asksForProof } from '../rule-conditions.ts';
import type { SnapshotRule } from '../snapshot.ts';
import { peerName, workloadText } from '../workload-name.ts';
import { type EvaluatedCondition, type EvaluatedRule, failedOf } from './evaluate.ts';

/** What would have to change for one rule to allow a request. */
export interface NeededChanges {
  readonly rule: string;
  /** In words, one for each condition that fails, or several. */
  readonly changes: readonly string[];
}

/** What is known of a cell beside the callee's own policy. */
interface CellKnowledge {
  readonly cell: CellDocument;
  hasManifest(workload: { readonly namespace: string; readonly serviceAccount: string }): boolean;
}

/**
 * The fewest conditions that keep a request from a rule, in words; of rules that lack as few, the nearest. Undefined where a rule allows it,
 * or there is none.
 */
export function neededChanges(
  rules: readonly EvaluatedRule[],
  asked: Asked,
  known: CellKnowledge,
): NeededChanges | undefined {
  let fewest: EvaluatedRule | undefined;
  for (const rule of rules) if (fewest === undefined || failedOf(rule).length < failedOf(fewest).length) fewest = rule;
  if (fewest === undefined || fewest.allows) return undefined;
  const source = asked.policy.snapshot.rules.find(({ name }) => name === fewest.rule)!;
  if (asked.request.peer === unmeshed && asksForProof(source)) return { rule: source.name, changes: [withTls(source)] };
  const failed = failedOf(fewest);
  const wording = new Wording(source, asked, known, new Set(failed.map(({ condition }) => condition)));
  return { rule: fewest.rule, changes: failed.flatMap((condition) => wording.of(condition)) };
}

/** To name the caller in `from` would not do: the reader refuses such a rule. */
function withTls({ name }: SnapshotRule): string {
  return `call through a sidecar: rule ${name} asks for what nobody proves without TLS; or write a rule with \`from: [unmeshed]\` that does not ask for it`;
}

class Wording {
  readonly #rule: SnapshotRule;
  readonly #asked: Asked;
  readonly #known: CellKnowledge;
  readonly #failed: ReadonlySet<Condition>;

  constructor(rule: SnapshotRule, asked: Asked, known: CellKnowledge, failed: ReadonlySet<Condition>) {
    this.#rule = rule;
    this.#asked = asked;
    this.#known = known;
    this.#failed = failed;
  }

  of({ condition, expected, isUnknown }: EvaluatedCondition): readonly string[] {
    const { name, actor, limits } = this.#rule;
    const { request } = this.#asked;
    const ofRule = `of rule ${name}`;
    switch (condition) {
      case 'port':
        return [`take \`port\` out ${ofRule}, or call ${expected}`];
      case 'path':
        return [`add ${request.path || 'the connection (a rule without `http`)'} to the paths ${ofRule}`];
      case 'method':
        return [`add ${request.method} to \`http.methods\` ${ofRule}`];
      case 'peer':
        return [`add ${this.#peer} to \`from\` ${ofRule}`];
      case 'declared':
        return this.#declared();
      case 'until':
        return [`move \`until\` ${ofRule} past ${new Date(request.nowMs).toISOString()}`];
      case 'account':
        return [
          `call for a customer (pass the context of the request on), or write \`account: none\` into rule ${name}`,
        ];
      case 'actor':
        return [`change \`actor\` ${ofRule} (${JSON.stringify(actor)}), or come with ${expected}`];
      case 'claims':
        return isUnknown
          ? [`nothing perhaps: the claim was not recorded (${expected} ${ofRule})`]
          : [`come with a token for ${expected}, or change \`claims\` ${ofRule}`];
      case 'scopes':
        return this.#scopes();
      case 'limit':
        return [`come less often, or raise \`limits\` ${ofRule} (${limits.map(({ per }) => per).join(', ')})`];
    }
  }

  get #peer(): string {
    const { peer, isRouter } = this.#asked.request;
    if (isRouter || peer === unmeshed) return isRouter ? 'router' : peer;
    return peerName(peer, this.#known.cell.trustDomain);
  }

  get #service(): string {
    return this.#asked.policy.snapshot.service.name;
  }

  /** Who is named to the letter and has no manifest need not declare anything. */
  #declared(): readonly string[] {
    if (this.#callerHasManifest) return [`add \`to: ${this.#service}\` to \`calls\` of ${this.#peer}`];
    return this.#failed.has('peer')
      ? []
      : [`name ${this.#peer} itself in \`from\` of rule ${this.#rule.name}: it has no manifest`];
  }

  get #callerHasManifest(): boolean {
    const workload = workloadOfPeer(this.#asked.request.peer);
    return workload !== undefined && this.#known.hasManifest(workload);
  }

  #scopes(): readonly string[] {
    const { scopes, anyScope } = this.#rule;
    const { policy, request } = this.#asked;
    const granted = policy.grantedTo(request);
    const missing = scopes.filter((scope) => !granted.has(scope));
    const changes = missing.length === 0 ? [] : this.#toGet(missing, (scope) => scope.join(' '));
    if (anyScope === undefined || anyScope.some((scope) => granted.has(scope))) return changes;
    return [...changes, ...this.#toGet(anyScope, (some) => `one of ${some.join(', ')}`)];
  }

  /** Where scopes get lost on their way from the token to here. */
  #toGet(scopes: readonly Scope[], text: (scopes: readonly Scope[]) => string): readonly string[] {
    const { policy, request } = this.#asked;
    const { token, left, isRouter, peer } = request;
    const caller = policy.snapshot.callers.find(({ id }) => id === peer);
    const lackedBy = (some: Pick<ScopeSet, 'has'> | undefined) => scopes.filter((scope) => some && !some.has(scope));
    if (token === undefined && !this.#callerHasManifest)
      return [`write a manifest for ${this.#peer} with a call to ${this.#service} that has \`own\` ${text(scopes)}`];
    if (token === undefined)
      return [`add ${text(scopes)} to \`own\` of the call of ${this.#peer} to ${this.#service}${this.#below(scopes)}`];
    const carried = isRouter ? policy.snapshot.routerCarry : caller?.carry;
    const notCarried = lackedBy(carried && new Set(carried));
    // What the token never had is not left, and neither is what the caller's own sidecar took off for want of `carry`.
    const notLeft = lackedBy(isRouter ? undefined : left).filter(
      (scope) => token.scopes.has(scope) && !notCarried.includes(scope),
    );
    const places: readonly [readonly Scope[], (scopes: string) => string][] = [
      [lackedBy(token.scopes), (some) => `grant ${some} to the customer's key`],
      [notLeft, (some) => `add ${some} to \`carry\` of a call before: it was not left`],
      [
        notCarried,
        (some) =>
          isRouter
            ? `add ${some} to \`ceiling\` of the Cell, from router`
            : `add ${some} to \`carry\` of the call of ${this.#peer} to ${this.#service}${this.#below(scopes)}, and of calls before it that leave it out`,
      ],
    ];
    return places.flatMap(([some, say]) => (some.length === 0 ? [] : [say(text(some))]));
  }

  /** What the manifest says is cut by what the platform allows at most. */
  #below(scopes: readonly Scope[]): string {
    const callee = workloadOf(this.#asked.policy.snapshot.service.id);
    const caller = workloadOfPeer(this.#asked.request.peer);
    if (callee === undefined || caller === undefined) return '';
    const isCut = ceilingsOf(this.#known.cell, caller, callee).some(({ value }) =>
      scopes.some((scope) => !value.scopes.includes(scope)),
    );
    return isCut ? `, and to \`ceiling\` of the Cell from ${workloadText(caller)} to ${workloadText(callee)}` : '';
  }
}

function workloadOfPeer(peer: Peer) {
  return peer === unmeshed ? undefined : workloadOf(peer);
}
