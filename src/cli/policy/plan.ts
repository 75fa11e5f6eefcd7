import { type Command, InvalidArgumentError } from 'commander';
import type { ApiClient } from '#api/api-client.ts';
import type { CompiledCell } from '#policy/compile.ts';
import { CellPolicies } from '#policy/plan/cell-policies.ts';
import { type Plan, Planner } from '#policy/plan/plan.ts';
import { planText } from '#policy/plan/plan-text.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { BoundedMap } from '#traffic/bounded-map.ts';
import { exitCodes } from '../exit-codes.ts';
import { withAuthority } from '../operator.ts';
import { print } from '../output.ts';
import { compiledDirectory, compiledPolicy, compiledVersion } from './compiled-policies.ts';
import { type RecordedOptions, withRecorded } from './recorded-source.ts';

interface PlanOptions extends RecordedOptions {
  readonly against: string;
  readonly fromPolicy?: string;
  readonly asEnforced?: boolean;
  readonly failOn: readonly FailOn[];
}

const failures = { 'newly-denied': 'newlyDenied', 'newly-allowed': 'newlyAllowed', unknown: 'unknown' } as const;
type FailOn = keyof typeof failures;

/** What a change of manifests would do to what was decided. */
export function addPlan(policy: Command): void {
  withAuthority(
    policy
      .command('plan')
      .summary('what new manifests do to recorded decisions')
      .description(
        'Decides recorded requests again by the manifests of a directory, and says what becomes denied, what becomes allowed, and what cannot be known.',
      )
      .argument('<new>', 'directory of the new manifests, with the Cell document')
      .option(
        '--against <source>',
        '`recorded`: what the control plane stores; or a directory with rings of decisions',
        'recorded',
      )
      .option(
        '--from-policy <old>',
        'compare with what these manifests would say, not with what was decided: a directory, or @VERSION',
      )
      .option('--as-enforced', 'as if every new manifest had `mode: enforce`')
      .option('--since <when>', 'decisions not before: RFC 3339, or how long ago (30m, 7d)')
      .option('--until <when>', 'decisions before')
      .option('--service <service>', 'decisions about calls of one service and to it: namespace/service-account')
      .option(
        '--fail-on <change>',
        'end with 1 when there is any: newly-denied, newly-allowed or unknown; may be given several times',
        collectFailOn,
        [],
      ),
    'control plane',
  ).action(async (directory: string, options: PlanOptions) => {
    const plan = await makePlan(directory, options);
    print(plan, () => planText(plan, comparedWith(options)), options);
    const failed = options.failOn.filter((change) => plan[failures[change]].decisions > 0);
    for (const change of failed)
      process.stderr.write(`cellmesh: ${change}: ${plan[failures[change]].decisions} [--fail-on]\n`);
    if (failed.length > 0) process.exitCode = exitCodes.failed.code;
  });
}

async function makePlan(directory: string, options: PlanOptions): Promise<Plan> {
  const { compiled } = await compiledDirectory(directory);
  const after = new CellPolicies(options.asEnforced ? enforced(compiled) : compiled);
  const { against, fromPolicy } = options;
  return await withRecorded(against, options, fromPolicy?.startsWith('@') === true, async ({ records, client }) => {
    const from = fromPolicy && new CellPolicies((await compiledPolicy(fromPolicy, client)).compiled);
    const versions = new KeptVersions(client);
    const planner = new Planner(after, from || undefined);
    for await (const record of records) {
      const then = versions.of(record.policyVersion);
      planner.add(record, then instanceof Promise ? await then : then);
    }
    return planner.plan();
  });
}

/** The manifests that were in force then, as far as the control plane keeps them; the last ones stay in memory. */
class KeptVersions {
  readonly #client: ApiClient | undefined;
  readonly #found = new BoundedMap<string, CellPolicies | 'lost'>(versionsMax);
  #last: { readonly version: string; readonly policies: CellPolicies | undefined } | undefined;

  constructor(client: ApiClient | undefined) {
    this.#client = client;
  }

  /** At once where it is known: most records are of the version of the one before. */
  of(version: string | undefined): CellPolicies | undefined | Promise<CellPolicies | undefined> {
    if (version === undefined || this.#client === undefined) return undefined;
    return this.#last?.version === version ? this.#last.policies : this.#find(this.#client, version);
  }

  async #find(client: ApiClient, version: string): Promise<CellPolicies | undefined> {
    let found = this.#found.get(version);
    if (found === undefined) {
      found = await read(client, version);
      this.#found.set(version, found);
    }
    const policies = found === 'lost' ? undefined : found;
    this.#last = { version, policies };
    return policies;
  }
}

/** `lost`: no longer kept, or of a form that is not read any more. */
async function read(client: ApiClient, version: string): Promise<CellPolicies | 'lost'> {
  try {
    return new CellPolicies((await compiledVersion(client, version)).compiled);
  } catch (error) {
    if (isCellmeshError(error, 'not_found') || isCellmeshError(error, 'document_invalid')) return 'lost';
    throw error;
  }
}

const versionsMax = 32;

function enforced(compiled: CompiledCell): CompiledCell {
  const snapshots = [...compiled.snapshots].map(([id, snapshot]) => {
    const { candidate } = snapshot;
    const tried = candidate && { candidate: { ...candidate, mode: 'enforce' as const } };
    return [id, { ...snapshot, mode: 'enforce' as const, ...tried }] as const;
  });
  return { ...compiled, version: `${compiled.version} (enforced)`, snapshots: new Map(snapshots) };
}

function collectFailOn(value: string, before: readonly FailOn[]): readonly FailOn[] {
  if (Object.hasOwn(failures, value)) return [...before, value as FailOn];
  throw new InvalidArgumentError(`It is one of ${Object.keys(failures).join(', ')}.`);
}

function comparedWith({ against, fromPolicy }: PlanOptions): string {
  if (fromPolicy !== undefined) return `what ${fromPolicy} says of them`;
  return against === 'recorded' ? 'what was decided' : `what was decided (${against})`;
}
