import type { Command } from 'commander';
import { addVersions } from './versions.ts';

/** What policy says, said and would say. */
export function addPolicy(program: Command): void {
  const policy = program.command('policy').summary('what policy says').description('What policy says, and said.');
  addVersions(policy);
}
