import type { Command } from 'commander';
import { withAuthority } from './operator.ts';
import { explainById, rulesOption } from './policy/explained-decision.ts';

/** Why a request got the answer that it got: `cellmesh policy explain` of a decision, for short. */
export function addExplain(program: Command): void {
  withAuthority(
    program
      .command('explain')
      .summary('why a request was allowed or refused')
      .description(
        'Explains a decision: who asked whom for what, every rule with the condition that failed, and what would change it, by the policy that was in force then. The id stands in the header `cellmesh-decision` of every answer.',
      )
      .argument('<decision-id>', 'as in the header `cellmesh-decision`')
      .option(...rulesOption),
    'control plane',
  ).action(explainById);
}
