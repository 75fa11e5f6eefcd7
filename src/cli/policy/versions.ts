import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { PolicyHistory } from '#api/generated/cellmesh/policy/v1/policy_history_pb.ts';
import { type AuthorityOptions, atControlPlane, withAuthority } from '../operator.ts';
import { print, table } from '../output.ts';
import { policyFiles } from './policy-files.ts';

/** The policy versions that decisions were made by. */
export function addVersions(policy: Command): void {
  withAuthority(
    policy
      .command('versions')
      .description(
        'Lists the policy versions that were in force, for as long as decisions are kept; or writes the manifests of one.',
      )
      .argument('[version]', 'as a decision names it')
      .option('--to <dir>', 'where the manifests of that version are written', 'policy'),
    'control plane',
  ).action(async (version: string | undefined, options: AuthorityOptions & { readonly to: string }) => {
    if (version === undefined) await list(options);
    else await writeVersion(version, options);
  });
}

async function list(options: AuthorityOptions): Promise<void> {
  const { versions } = await atControlPlane(options, (client) => client.call(PolicyHistory.method.listVersions, {}));
  const rows = versions.map(({ version, sinceMs }) => ({ version, since: new Date(Number(sinceMs)).toISOString() }));
  const forPeople = () =>
    table(
      ['VERSION', 'IN FORCE SINCE'],
      rows.map(({ version, since }) => [version, since]),
    );
  print(rows, forPeople, options);
}

async function writeVersion(version: string, options: AuthorityOptions & { readonly to: string }): Promise<void> {
  const files = await atControlPlane(options, (client) => policyFiles(client, version));
  await mkdir(options.to, { recursive: true });
  for (const [name, text] of files) await writeFile(join(options.to, name), text);
  const written = [...files.keys()].map((name) => join(options.to, name));
  print({ version, files: written }, () => written.join('\n'), options);
}
