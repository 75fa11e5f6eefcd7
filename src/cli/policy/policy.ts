import { Argument, type Command } from 'commander';
import { policyTestSchema } from '#policy/cases/policy-test-schema.ts';
import { manifestSchema } from '#policy/manifest-schema.ts';
import { print } from '../output.ts';
import { addDiff } from './diff.ts';
import { addExplain } from './explain.ts';
import { addGenerate } from './generate.ts';
import { addGraph } from './graph.ts';
import { addLint } from './lint.ts';
import { addPlan } from './plan.ts';
import { addRollout } from './rollout.ts';
import { addTest } from './test.ts';
import { addVersions } from './versions.ts';

/** What policy says, said and would say. */
export function addPolicy(program: Command): void {
  const policy = program
    .command('policy')
    .summary('tools for manifests')
    .description('Tools for manifests: what policy says, said and would say.');
  // In the order in which somebody who changes a manifest needs them.
  addLint(policy);
  addTest(policy);
  addDiff(policy);
  addPlan(policy);
  addGenerate(policy);
  addRollout(policy);
  addExplain(policy);
  addGraph(policy);
  addVersions(policy);
  policy
    .command('schema')
    .description('Prints the JSON Schema of manifests, or of their tests (draft 2020-12), for editors.')
    .addArgument(new Argument('[documents]', 'of what').choices(['manifest', 'test']).default('manifest'))
    .action((documents: string) =>
      print(documents === 'test' ? policyTestSchema() : manifestSchema(), () => '', { json: true }),
    );
}
