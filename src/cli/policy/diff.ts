import type { Command } from 'commander';
import { type AuthorityOptions, atControlPlane, withAuthority } from '../operator.ts';
import { print } from '../output.ts';
import { readManifestDir } from './manifest-files.ts';
import { policyFiles } from './policy-files.ts';

const examples = `
Examples:
  cellmesh policy diff policy/ changed/           two directories
  cellmesh policy diff @8a4f35c1be02 policy/      a version that was in force (\`cellmesh policy versions\`), and a directory
  cellmesh policy diff policy/ changed/ --json    for programs`;

/** What changed between two sets of manifests, in words. */
export function addDiff(policy: Command): void {
  withAuthority(
    policy
      .command('diff')
      .summary('what changed between two sets of manifests, in words')
      .description(
        'Says what changed between two sets of manifests, and whether it allows more (wider), less (narrower), or something else (different).',
      )
      .argument('<before>', 'a directory, or @VERSION of the control plane')
      .argument('<after>', 'the same')
      .addHelpText('after', examples),
    'control plane',
  ).action(async (before: string, after: string, options: AuthorityOptions) => {
    const { readManifests } = await import('#policy/read-manifests.ts');
    const { diff } = await import('#policy/diff/diff.ts');
    const { diffText } = await import('#policy/diff/diff-text.ts');
    const old = readManifests(await textsOf(before, options));
    const found = diff(old, readManifests(await textsOf(after, options)));
    print(found, () => diffText(found), options);
  });
}

async function textsOf(source: string, options: AuthorityOptions): Promise<ReadonlyMap<string, string>> {
  if (!source.startsWith('@')) return await readManifestDir(source);
  return await atControlPlane(options, (client) => policyFiles(client, source.slice(1)));
}
