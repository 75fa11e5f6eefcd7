import type { NeededChanges } from './changes.ts';
import { type EvaluatedCondition, type EvaluatedRule, failedOf } from './evaluate.ts';

/** A list of a thousand peers says nothing more to people. */
const valueCharactersMax = 300;

/**
 * Rules for people: of each what failed, with expected and actual, and what held.
 * @param rulesMax the others are counted
 */
export function shownRules(service: string, rules: readonly EvaluatedRule[], rulesMax: number): string[] {
  if (rules.length === 0) return [`${service} has no rules.`];
  const shown = rules.slice(0, rulesMax);
  const count = shown.length === rules.length ? `${rules.length}` : `${shown.length} of ${rules.length}`;
  return [`Rules of ${service}, nearest first (${count}):`, ...ruleLines(shown)];
}

function ruleLines(rules: readonly EvaluatedRule[]): string[] {
  const width = Math.max(...rules.map(({ rule }) => rule.length));
  return rules.flatMap((rule) => linesOf(rule, width));
}

export function changeLines({ rule, changes }: NeededChanges): string[] {
  return [
    `For rule \`${rule}\` to allow it, which takes the fewest changes:`,
    ...changes.map((change) => `  - ${change}`),
  ];
}

function linesOf(rule: EvaluatedRule, width: number): string[] {
  const failed = failedOf(rule);
  const indent = ' '.repeat(width + 6);
  const held = rule.conditions.filter(({ holds }) => holds).map(({ condition }) => condition);
  const heldText = held.length === 0 ? [] : [`${held.join(', ')} ${held.length === 1 ? 'holds' : 'hold'}`];
  const [first = [], ...others] = [heldText, ...failed.map(failureLines)].filter((lines) => lines.length > 0);
  const mark = rule.allows ? '✔' : '✖';
  const [head = 'asks nothing', ...rest] = first;
  return [`  ${mark} ${rule.rule.padEnd(width)}  ${head}`, ...[...rest, ...others.flat()].map((line) => indent + line)];
}

function failureLines({ condition, expected, actual, isUnknown }: EvaluatedCondition): string[] {
  return [
    `${condition} ${isUnknown ? 'is not known' : 'fails'}`,
    `  expected  ${shortened(expected)}`,
    `  actual    ${shortened(actual)}`,
  ];
}

function shortened(text: string): string {
  return text.length <= valueCharactersMax ? text : `${text.slice(0, valueCharactersMax)}… (${text.length} characters)`;
}
