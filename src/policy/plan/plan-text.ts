import type { ChangeKind } from './change-of.ts';
import type { Count, Group } from './groups.ts';
import type { Plan } from './plan.ts';

/** As many as a person reads; `--json` has all. */
const groupsShownMax = 50;

const headings: Readonly<Record<ChangeKind, { readonly sign: string; readonly title: string }>> = {
  newlyDenied: { sign: '-', title: 'newly denied' },
  newlyAllowed: { sign: '+', title: 'newly allowed' },
  unknown: { sign: '?', title: 'unknown' },
};
const kinds = Object.keys(headings) as ChangeKind[];

/** A plan for people: what changes at all, then group by group, those first that concern most customers. */
export function planText(plan: Plan, against: string): string {
  const { decisions, since, until, version } = plan;
  if (decisions === 0) return 'No decisions are recorded: there is nothing to decide again.\n';
  const span = `${number(decisions)} decisions from ${since?.slice(0, 19)}Z to ${until?.slice(0, 19)}Z`;
  const isSame = kinds.every((kind) => plan[kind].decisions === 0);
  const lines = [
    `Plan: ${span}, decided again by version ${version}; compared with ${against}.`,
    '',
    ...(isSame
      ? ['Nothing changes: every one of them is decided as it was.']
      : kinds.map((kind) => totalLine(plan, kind))),
    ...kinds.flatMap((kind) => section(plan, kind)),
    ...notes(plan),
  ];
  return `${lines.join('\n')}\n`;
}

function totalLine(plan: Plan, kind: ChangeKind): string {
  const { sign, title } = headings[kind];
  const { decisions, accounts, groups } = plan[kind];
  const size = decisions === 0 ? '' : `, ${counted(accounts, 'account')}, in ${amount(groups, 'group')}`;
  return `  ${sign} ${title.padEnd(13)}  ${amount(decisions, 'decision')}${size}`;
}

function section(plan: Plan, kind: ChangeKind): string[] {
  const groups = plan.groups.filter(({ change }) => change === kind);
  if (groups.length === 0) return [];
  const { title } = headings[kind];
  const hidden = groups.length - groupsShownMax;
  const { others } = plan[kind];
  return [
    '',
    `${title[0]!.toUpperCase()}${title.slice(1)}`,
    ...groups.slice(0, groupsShownMax).flatMap(groupLines),
    ...(hidden > 0 ? ['', `  ${amount(hidden, 'more group')}: --json lists them.`] : []),
    ...(others > 0 ? ['', `  ${amount(others, 'decision')} of still others.`] : []),
  ];
}

function groupLines(group: Group): string[] {
  const { change, service, peer, decisions, accounts, scopes, examples } = group;
  const rows: readonly (readonly [string, string])[] = [
    ['then', thenText(group)],
    ['now', nowText(group)],
    ...(group.failed === undefined ? [] : failedRows(group)),
    ['scopes', scopes || 'none'],
    ...examples.map(({ id, request }, at): [string, string] => [at === 0 ? 'such as' : '', `${id}  ${request}`]),
  ];
  return [
    '',
    `  ${headings[change].sign} ${peer} -> ${service}   ${amount(decisions, 'decision')}, ${counted(accounts, 'account')}`,
    ...rows.map(([name, text]) => `      ${name.padEnd(9)} ${text}`),
  ];
}

function thenText({ before }: Group): string {
  if (before === 'allowed') return 'allowed';
  return before.startsWith('rule ') ? `allowed by ${before}` : `denied: ${before}`;
}

function nowText({ change, at, after }: Group): string {
  if (change === 'unknown') return `unknown: ${after}`;
  if (change === 'newlyAllowed') return after.startsWith('rule ') ? `allowed by ${after}` : 'allowed';
  const where = { inbound: '', outbound: ", by the caller's sidecar", edge: ', by routers' }[at];
  return `denied: ${after}${where}`;
}

function failedRows({ failed }: Group): [string, string][] {
  const { rule, condition, expected, actual } = failed!;
  const nearest: [string, string][] = rule === undefined ? [] : [['nearest', `rule ${rule}, but for its ${condition}`]];
  return [...nearest, ['expected', expected], ['actual', actual]];
}

function notes({ settled, unreadable, underLimits, groups }: Plan): string[] {
  const lines = [
    ...(settled > 0 ? [`${amount(settled, 'decision')} were settled before manifests had a say.`] : []),
    ...(unreadable > 0 ? [`${amount(unreadable, 'record')} could not be read.`] : []),
    ...(underLimits > 0
      ? [`${amount(underLimits, 'decision')} are allowed by rules with limits, which are not counted here.`]
      : []),
    ...(groups.length > 0 ? ['`cellmesh explain <decision-id>` says more of an example.'] : []),
  ];
  return lines.length === 0 ? [] : ['', ...lines];
}

function counted({ count, isExact }: Count, noun: string): string {
  return isExact ? amount(count, noun) : `at least ${amount(count, noun)}`;
}

function amount(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? '' : 's'}`;
}

function number(count: number): string {
  return count.toLocaleString('en-US');
}
