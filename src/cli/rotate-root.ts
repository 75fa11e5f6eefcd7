import { type Command, Option } from 'commander';
import { region } from './installation.ts';
import { type AuthorityOptions, atControlPlane, atIdentity, withAuthority } from './operator.ts';
import { print } from './output.ts';
import { type RootsReport, rootsTable, rotateRoot, rotationLine, untilRotated } from './roots.ts';

interface RotateOptions extends AuthorityOptions {
  readonly of: 'control-plane' | 'identity';
  readonly wait?: boolean;
  readonly retireNow?: boolean;
}

/** Those who have roots. */
export const authorities = [
  { name: 'control-plane', at: atControlPlane },
  { name: 'identity', at: atIdentity },
] as const;

/** Said before it is done, whoever asks for it. */
const whatBreaks =
  'The root in use is taken out of all trust bundles in seconds. SVIDs that the running processes issued stay good, and are renewed at once. What breaks: SVIDs below the root that were issued otherwise; sidecars and routers that are not connected now, which need the new trust bundle and join again; a cell whose identity is away, which is registered again.';

export function addRotateRoot(certs: Command): void {
  const command = certs
    .command('rotate-root')
    .summary('replace a root by a new one')
    .description(
      'Begins to replace the root by a new one: the trust bundle holds both; when all have heard, the new one signs; when no SVID below the old one can be alive, that goes. Nothing is interrupted. It happens by itself in time.',
    );
  withAuthority(command, 'control plane')
    .option('--global-trust-domain <domain>', 'the same with `--of identity`')
    .optionsGroup('Options:')
    .addOption(
      new Option('--of <authority>', 'whose root')
        .choices(authorities.map(({ name }) => name))
        .default('control-plane'),
    )
    .option('--region <name>', 'the region of identity', region)
    .option('--wait', 'stay until the old root has gone, and say each phase')
    .option('--retire-now', `the root in use may be known to others: wait for nobody. ${whatBreaks}`)
    .action(async (options: RotateOptions) => {
      const { at } = authorities.find(({ name }) => name === options.of)!;
      const ask: Parameters<typeof rotateRoot>[0] = (use) => at(options, use);
      if (options.retireNow && !options.json) process.stderr.write(`${whatBreaks}\n`);
      const begun = await rotateRoot(ask, options.retireNow === true);
      if (!options.wait) return show(begun, options);
      for await (const report of untilRotated(ask, begun)) showPhase(report, options);
    });
}

function show(report: RootsReport, options: RotateOptions): void {
  print(report, () => `${rootsTable(report)}\n${rotationLine(report)}`, options);
}

/** JSON a line each, for those who read while it goes on. */
function showPhase(report: RootsReport, { json }: RotateOptions): void {
  const done = report.roots.length === 1 ? 'retired: one root is left. ' : '';
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : `${done}${rotationLine(report)}\n`);
}
