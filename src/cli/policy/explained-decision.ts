import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { type DecisionExplanation, explainDecision } from '#policy/explain/explain-decision.ts';
import { explain } from '#policy/explain/explain-record.ts';
import { changeLines, shownRules } from '#policy/explain/rule-lines.ts';
import { isCellmeshError, messageOf } from '#runtime/errors.ts';
import { findDecision } from '../find-decision.ts';
import { region } from '../installation.ts';
import { type AuthorityOptions, atControlPlane } from '../operator.ts';
import { print } from '../output.ts';
import { policyFiles } from './policy-files.ts';

export interface RulesOption {
  readonly allRules?: boolean;
}

export const rulesOption = ['--all-rules', 'show every rule, not the nearest five only'] as const;

/** So many rules say most of what there is to say; some services have thousands. */
const rulesShown = 5;

export const rulesShownOf = ({ allRules }: RulesOption): number => (allRules ? Number.POSITIVE_INFINITY : rulesShown);

/** Finds a decision, and explains it by the policy that was in force then. */
export async function explainById(id: string, given: Omit<AuthorityOptions, 'region'> & RulesOption): Promise<void> {
  const options = { ...given, region };
  const record = await findDecision(id, options);
  const explanation = explainDecision(record, await policiesThen(record, options));
  const forPeople = () => `${explain(record)}${linesOf(record, explanation, options).join('\n')}`;
  print({ ...record, explanation: shortened(explanation, options) }, forPeople, options);
}

async function policiesThen(
  { policyVersion, candidate }: DecisionRecord,
  options: AuthorityOptions,
): Promise<CellAtHand | { readonly why: string }> {
  if (policyVersion === undefined) return { why: 'none is named' };
  try {
    const files = await atControlPlane(options, (client) => policyFiles(client, policyVersion));
    return CellAtHand.read(files, candidate?.isInForce ? 'candidate' : 'in-force');
  } catch (error) {
    if (!isCellmeshError(error)) throw error;
    return { why: messageOf(error) };
  }
}

function linesOf(
  { service = '' }: DecisionRecord,
  { version, rules, needed, notes }: DecisionExplanation,
  options: RulesOption,
): string[] {
  const shown = rules && shownRules(`${service}, version ${version}, which was in force`, rules, rulesShownOf(options));
  const hint = rules && rules.length > rulesShownOf(options) ? [`  (--all-rules shows all ${rules.length})`] : [];
  return [
    ...(shown ? ['', ...shown, ...hint] : []),
    ...(needed ? ['', ...changeLines(needed)] : []),
    ...(notes.length > 0 ? ['', ...notes] : []),
  ];
}

function shortened({ rules, ...explanation }: DecisionExplanation, options: RulesOption): unknown {
  if (rules === undefined) return explanation;
  return { ...explanation, ruleCount: rules.length, rules: rules.slice(0, rulesShownOf(options)) };
}
