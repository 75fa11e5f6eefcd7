import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { ApiClient } from '#api/api-client.ts';
import { PolicyHistory } from '#api/generated/cellmesh/policy/v1/policy_history_pb.ts';
import { manifestYaml } from '#policy/generate/manifest-yaml.ts';
import { type GeneratedManifest, manifestsOf } from '#policy/generate/manifests-of.ts';
import { Seen } from '#policy/generate/seen.ts';
import { CellPolicies } from '#policy/plan/cell-policies.ts';
import { workloadText } from '#policy/workload-name.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { withAuthority } from '../operator.ts';
import { print } from '../output.ts';
import { compiledPolicy } from './compiled-policies.ts';
import { type RecordedOptions, withRecorded } from './recorded-source.ts';

interface GenerateOptions extends RecordedOptions {
  readonly from: string;
  readonly policy?: string;
  readonly to?: string;
}

/** A first manifest out of what was seen. */
export function addGenerate(policy: Command): void {
  withAuthority(
    policy
      .command('generate')
      .summary('manifests that allow what was seen')
      .description(
        'Prints the least manifests that allow what recorded decisions allowed, in mode audit: a starting point, to be reviewed.',
      )
      .requiredOption(
        '--from <source>',
        '`recorded`: what the control plane stores; or a directory with rings of decisions',
      )
      .option(
        '--policy <current>',
        'manifests of today, for ports, hosts and rules: a directory, or @VERSION (default: those in force; with a directory of rings none)',
      )
      .option('--since <when>', 'decisions not before: RFC 3339, or how long ago (30m, 7d)')
      .option('--until <when>', 'decisions before')
      .option('--service <service>', 'the manifest of one service only: namespace/service-account')
      .option('--to <dir>', 'write a file for each service there'),
    'control plane',
  ).action(async (options: GenerateOptions) => {
    const { seen, manifests } = await generate(options);
    const { to } = options;
    if (to === undefined) {
      const yaml = () => manifests.map((one, at) => manifestYaml(one, at === 0 ? headOf(seen) : [])).join('---\n');
      const { since, until, counts } = seen;
      print({ ...counts, since, until, manifests }, yaml, options);
      return;
    }
    await mkdir(to, { recursive: true });
    const files: string[] = [];
    for (const manifest of manifests) {
      const file = join(to, `${manifest.service.replace('/', '-')}.yaml`);
      await writeFile(file, manifestYaml(manifest, headOf(seen)), { flag: 'wx' }).catch((cause) => {
        throw new CellmeshError('config_invalid', `${file} cannot be written: ${cause.message}`, { cause });
      });
      files.push(file);
    }
    print({ files }, () => files.join('\n'), options);
  });
}

async function generate(options: GenerateOptions): Promise<{ seen: Seen; manifests: GeneratedManifest[] }> {
  // A caller's manifest is also about what others were asked: all records are read, whatever is printed.
  const { service: wanted, from, policy, ...everything } = options;
  return await withRecorded(from, everything, policy?.startsWith('@') === true, async ({ records, client }) => {
    const named = policy ?? (await inForce(client));
    const today = named === undefined ? undefined : await compiledPolicy(named, client);
    const seen = new Seen(today && new CellPolicies(today.compiled));
    for await (const record of records) seen.add(record);
    const policies = (today?.policies ?? []).filter(({ rollout }) => rollout === undefined);
    const manifests = manifestsOf(seen, new Map(policies.map((one) => [workloadText(one), one])));
    const printed = manifests.filter(({ service }) => wanted === undefined || service === wanted);
    if (printed.length > 0) return { seen, manifests: printed };
    throw new CellmeshError(
      'not_found',
      `no allowed request${wanted === undefined ? '' : ` of ${wanted}`} is recorded`,
    );
  });
}

async function inForce(client: ApiClient | undefined): Promise<string | undefined> {
  const { versions } = (await client?.call(PolicyHistory.method.listVersions, {})) ?? { versions: [] };
  const last = versions.at(-1);
  return last && `@${last.version}`;
}

function headOf({ counts, since, until }: Seen): readonly string[] {
  const { allowed, leftOut } = counts;
  return [
    `Generated from ${allowed.toLocaleString('en-US')} decisions that allowed something, from ${since} to ${until}.`,
    'A starting point, to be reviewed: what was not seen in that time is refused once the mode is `enforce`.',
    ...(leftOut > 0 ? [`${leftOut.toLocaleString('en-US')} of them found no place in any rule.`] : []),
  ];
}
