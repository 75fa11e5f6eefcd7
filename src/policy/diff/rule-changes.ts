import type { TrustDomain } from '#certs/spiffe-id.ts';
import { describeClaim } from '../claim-condition.ts';
import type { RuleLimit } from '../rule-conditions.ts';
import { covers, type RuleCondition, shadows } from '../rule-coverage.ts';
import { type PolicySnapshot, peerWordsOf, type SnapshotRule } from '../snapshot.ts';
import { peerName } from '../workload-name.ts';
import { added, type Change, changed, changedSet, changedWithin, effectOf, removed, setText } from './change.ts';

/** One version of a service's rules, and who is known to declare calls to it or not to. */
export type Rules = Pick<PolicySnapshot, 'cell' | 'callers' | 'undeclared' | 'rules'>;

type IsKnown = (id: SnapshotRule['ids'][number]) => boolean;

/** Rules that are new, gone, or other than they were, by their names. */
export function ruleChanges(before: Rules, after: Rules): Change[] {
  const known = new Set(
    [before, after].flatMap(({ callers, undeclared }) => [...callers.map(({ id }) => id), ...undeclared]),
  );
  const isKnown: IsKnown = (id) => known.has(id);
  const [old, now] = [before, after].map(({ rules }) => new Map(rules.map((rule) => [rule.name, rule])));
  const isMoot = (rule: SnapshotRule, beside: Rules) => beside.rules.some((other) => shadows(other, rule, isKnown));
  const both = (some: Rules) => some.rules.map(({ name }) => name).filter((name) => old!.has(name) && now!.has(name));
  const isLimited = [before, after].some(({ rules }) => rules.some(({ limits }) => limits.length > 0));
  return [
    ...after.rules.flatMap((rule) => {
      const was = old!.get(rule.name);
      if (was !== undefined)
        return changedWithin(`rule ${rule.name}`, fieldChanges(was, rule, isKnown, after.cell.trustDomain));
      return [
        added(`rule ${rule.name}`, ruleText(rule, after.cell.trustDomain), isMoot(rule, before) ? 'same' : 'wider'),
      ];
    }),
    ...before.rules
      .filter(({ name }) => !now!.has(name))
      .map((rule) =>
        removed(
          `rule ${rule.name}`,
          ruleText(rule, before.cell.trustDomain),
          isMoot(rule, after) ? 'same' : 'narrower',
        ),
      ),
    // All rules that allow are tried; which one is first decides whose budget is taken.
    ...changed('order of rules', both(before).join(', '), both(after).join(', '), () =>
      isLimited ? 'different' : 'same',
    ),
  ];
}

/** The fields of a rule that say something, in words. */
const fields: Readonly<
  Record<
    string,
    { readonly condition: RuleCondition; readonly text: (rule: SnapshotRule, home: TrustDomain) => string }
  >
> = {
  from: { condition: 'peer', text: peersText },
  port: { condition: 'port', text: ({ port }) => (port === undefined ? 'every port' : String(port)) },
  methods: { condition: 'method', text: ({ methods }) => (methods === undefined ? 'every method' : setText(methods)) },
  paths: {
    condition: 'path',
    text: ({ paths }) => (paths === undefined ? 'every path' : setText(paths.map(({ text }) => text))),
  },
  account: { condition: 'account', text: ({ account }) => account },
  actor: {
    condition: 'actor',
    text: ({ actor }) => (Array.isArray(actor) ? setText(actor) : ((actor as string | undefined) ?? 'whoever')),
  },
  claims: { condition: 'claims', text: ({ claims }) => setText(claims.map(describeClaim)) },
  until: {
    condition: 'until',
    text: ({ untilMs }) => (untilMs === undefined ? 'no end' : new Date(untilMs).toISOString()),
  },
  limits: { condition: 'limit', text: ({ limits }) => setText(limits.map(limitText)) },
};

function fieldChanges(before: SnapshotRule, after: SnapshotRule, isKnown: IsKnown, home: TrustDomain): Change[] {
  const byCondition = Object.entries(fields).flatMap(([name, { condition, text }]) => {
    const takes = covers[condition];
    return changed(name, text(before, home), text(after, home), () =>
      effectOf(takes(after, before, isKnown), takes(before, after, isKnown)),
    );
  });
  const needsAll = changedSet('scopes', before.scopes, after.scopes).map(reversed);
  return [
    ...byCondition,
    // Whoever needs more scopes allows less; of `anyScope` it is the other way round.
    ...needsAll,
    ...changedSet('anyScope', before.anyScope, after.anyScope, 'none'),
    ...changed('sensitive', String(before.sensitive), String(after.sensitive), () =>
      after.sensitive ? 'narrower' : 'wider',
    ),
  ];
}

function reversed(change: Change): Change {
  const opposite = { wider: 'narrower', narrower: 'wider', different: 'different', same: 'same' } as const;
  return { ...change, effect: opposite[change.effect] };
}

/** A rule in one line: what it asks for, and nothing of what it does not. */
function ruleText(rule: SnapshotRule, home: TrustDomain): string {
  const { port, methods, paths, scopes, anyScope, account, actor, claims, untilMs, limits, sensitive } = rule;
  const parts = [
    `from ${peersText(rule, home)}`,
    methods && setText(methods),
    paths && setText(paths.map(({ text }) => text)),
    port === undefined ? undefined : `port ${port}`,
    scopes.length > 0 && `scopes ${setText(scopes)}`,
    anyScope && `any scope of ${setText(anyScope)}`,
    account === 'none' && 'no customer needed',
    actor && `actor ${fields['actor']!.text(rule, home)}`,
    claims.length > 0 && `claims ${fields['claims']!.text(rule, home)}`,
    untilMs !== undefined && `until ${fields['until']!.text(rule, home)}`,
    limits.length > 0 && `limits ${fields['limits']!.text(rule, home)}`,
    sensitive && 'sensitive',
  ];
  return parts.filter((part) => part).join('; ');
}

function peersText({ ids, idPatterns, ...rule }: SnapshotRule, home: TrustDomain): string {
  return setText([...ids.map((id) => peerName(id, home)), ...idPatterns.map(({ text }) => text), ...peerWordsOf(rule)]);
}

function limitText({ per, perSecond, burst }: RuleLimit): string {
  return `${perSecond} a second per ${per}, burst ${burst}`;
}
