import { Argument, type Command } from 'commander';
import { policyTestSchema } from '#policy/cases/policy-test-schema.ts';
import { manifestSchema } from '#policy/manifest-schema.ts';
import { print } from '../output.ts';
<<<<<<< HEAD
import { addDiff } from './diff.ts';
import { addExplain } from './explain.ts';
=======
>>>>>>> b2c17249a14536827b450dbd259be61d6a6729cb
import { addGenerate } from './generate.ts';
import { addGraph } from './graph.ts';
import { addLint } from './lint.ts';
import { addPlan } from './plan.ts';
import { addRollout } from './rollout.ts';
<<<<<<< HEAD
import { addTest } from './test.ts';
=======
>>>>>>> b2c17249a14536827b450dbd259be61d6a6729cb
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
  addRollout(policy);
  addExplain(policy);
  addGraph(policy);
  addVersions(policy);
  policy
    .command('schema')
<<<<<<< HEAD
    .description('Prints the JSON Schema of manifests, or of their tests (draft 2020-12), for editors.')
    .addArgument(new Argument('[documents]', 'of what').choices(['manifest', 'test']).default('manifest'))
    .action((documents: string) =>
      print(documents === 'test' ? policyTestSchema() : manifestSchema(), () => '', { json: true }),
    );
=======
    .description('Prints the JSON Schema of manifests (draft 2020-12), for editors.')
    .action(() => print(manifestSchema(), () => '', { json: true }));
  addPlan(policy);
  addGenerate(policy);
  addRollout(policy);
  addVersions(policy);
>>>>>>> b2c17249a14536827b450dbd259be61d6a6729cb
}
