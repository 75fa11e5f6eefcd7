import type { Command } from 'commander';
import { manifestSchema } from '#policy/manifest-schema.ts';
import { print } from '../output.ts';
import { addGenerate } from './generate.ts';
import { addPlan } from './plan.ts';
import { addRollout } from './rollout.ts';
import { addVersions } from './versions.ts';

/** What policy says, said and would say. */
export function addPolicy(program: Command): void {
  const policy = program
    .command('policy')
    .summary('tools for manifests')
    .description('Tools for manifests: what policy says, said and would say.');
  policy
    .command('schema')
    .description('Prints the JSON Schema of manifests (draft 2020-12), for editors.')
    .action(() => print(manifestSchema(), () => '', { json: true }));
  addPlan(policy);
  addGenerate(policy);
  addRollout(policy);
  addVersions(policy);
}
