import { Argument, type Command } from 'commander';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { print } from '../output.ts';
import { connect } from './connect.ts';
import { installations, type KubernetesObject } from './installations.ts';
import { nameOf, resourceOf } from './kinds.ts';
import { planUninstall, type UninstallPlan } from './plan-uninstall.ts';

interface Options {
  readonly namespace?: string;
  readonly crds?: boolean;
  readonly deleteRoot?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly json?: boolean;
}

/** By names as `nameOf` writes them. */
interface Result {
  readonly dryRun: boolean;
  readonly removed: readonly string[];
  readonly kept: readonly string[];
  readonly injected: readonly string[];
  readonly ofUsers: readonly string[];
}

/** A list for people is no longer. */
const shownMax = 20;

export function addUninstall(program: Command): void {
  program
    .command('uninstall')
    .summary('take an installation out of a cluster')
    .description(
      'Takes away what `cellmesh install` has brought into a cluster: first what the API server asks, then who answers, then the rest. Pods with a sidecar go on serving with the certificates they have until they are restarted; they are listed. Kinds of objects stay, and with them the policies of users, unless --crds is given; what holds the root and keys stays unless --delete-root is: a new installation goes on with it, and without it every identity and every copy of the trust bundle is worthless. The namespace stays.',
    )
    .addArgument(new Argument('<what>').choices(Object.keys(installations)))
    .option('--namespace <name>', 'where; default: cellmesh, cellmesh-global')
    .option('--crds', '(cell) also the kinds of objects, and every Cell and ServicePolicy there is')
    .option('--delete-root', 'also the Secrets and volumes with roots and keys')
    .option('--dry-run', 'say what would be done')
    .option('--yes', 'agree to lose objects of users')
    .option('--kubeconfig <file>', 'the cluster; default: KUBECONFIG, ~/.kube/config, or the one around this pod')
    .option('--context <name>', 'a context of it; default: the current one')
    .option('--json', 'print JSON')
    .action((what: 'cell' | 'global', options: Options) => uninstall(what, options));
}

async function uninstall(what: 'cell' | 'global', options: Options): Promise<void> {
  const installation = installations[what];
  const namespace = options.namespace ?? installation.namespace;
  await using client = await connect(options);
  const plan = await planUninstall(installation, {
    client,
    namespace,
    takesDefinitions: options.crds ?? false,
    takesRoot: options.deleteRoot ?? false,
  });
  if (!options.dryRun) {
    refuseOthers(plan);
    if (!options.yes) refuseLoss(plan);
    for (const one of plan.removed) {
      const { name, namespace } = one.metadata;
      await client.delete(resourceOf(one), { name, ...(namespace !== undefined && { namespace }) }).catch(unlessGone);
      if (!options.json) process.stderr.write(`deleted    ${nameOf(one)}\n`);
    }
  }
  const names = (objects: readonly KubernetesObject[]) => objects.map(nameOf);
  const result: Result = {
    dryRun: options.dryRun ?? false,
    removed: names(plan.removed),
    kept: names(plan.kept),
    injected: names(plan.injected),
    ofUsers: names(plan.ofUsers),
  };
  print(result, () => describe(result), options);
}

function describe({ dryRun, removed, kept, injected, ofUsers }: Result): string {
  const lines = [`${removed.length} objects ${dryRun ? 'would be ' : ''}deleted${dryRun ? ', in this order:' : '.'}`];
  if (dryRun) lines.push(...removed.map((name) => `  ${name}`));
  if (ofUsers.length > 0) lines.push(`With their kinds ${dryRun ? 'would go' : 'went'}:`, ...shown(ofUsers));
  if (kept.length > 0) lines.push('Kept, since it holds roots and keys (--delete-root):', ...shown(kept));
  if (injected.length > 0)
    lines.push('Pods with a sidecar, which serve on until they are restarted:', ...shown(injected));
  return lines.join('\n');
}

function shown(names: readonly string[]): string[] {
  const rest = names.length - shownMax;
  return [...names.slice(0, shownMax).map((name) => `  ${name}`), ...(rest > 0 ? [`  and ${rest} more`] : [])];
}

function refuseOthers({ removed }: UninstallPlan): void {
  const others = removed.filter(({ metadata }) => metadata.labels?.['app.kubernetes.io/managed-by'] === 'Helm');
  if (others.length === 0) return;
  throw new CellmeshError(
    'uninstall_refused',
    `Helm has installed ${nameOf(others[0]!)}: \`helm uninstall\` takes it away`,
  );
}

function refuseLoss({ ofUsers }: UninstallPlan): void {
  if (ofUsers.length === 0) return;
  const policies = ofUsers.filter(({ kind }) => kind === 'ServicePolicy').length;
  throw new CellmeshError(
    'uninstall_refused',
    `with --crds ${policies} ServicePolicies and ${ofUsers.length - policies} Cells would be lost; --yes agrees, --dry-run lists them`,
  );
}

function unlessGone(error: unknown): void {
  if (!(error instanceof KubernetesError && error.isNotFound)) throw error;
}
