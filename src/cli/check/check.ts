import type { Command } from 'commander';
import { systemClock } from '#runtime/clock.ts';
import { parseDuration } from '#runtime/duration.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { type AuthorityOptions, withState } from '../operator.ts';
import { print, table } from '../output.ts';
import type { Check } from './check-definition.ts';
import { checks } from './checks.ts';
import { collectFacts } from './collect/collect.ts';
import { countOf, hasFailed, judge } from './judge.ts';
import { reportText } from './report-text.ts';

interface Options extends AuthorityOptions {
  readonly kubeconfig?: string;
  readonly namespace: string;
  readonly failBefore: string;
  readonly timeout: string;
  readonly only?: string;
  readonly skip?: string;
  readonly strict?: boolean;
  readonly list?: boolean;
}

const examples = `
Examples:
  cellmesh check                                    the cell of \`cellmesh up\`
  cellmesh check --fail-before 60d --only certificates   for a timer: certificates only
  cellmesh check --kubeconfig ~/.kube/config        a cell in a cluster

Ends with 1 when a check has failed, or could not look: \`--skip\` leaves out what is not to be looked at. Warnings fail with \`--strict\` only.`;

/** What is wrong with a cell, and how it is mended. */
export function addCheck(program: Command): void {
  withState(
    program
      .command('check')
      .summary('what is wrong with a cell, and how to mend it')
      .description(
        'Looks at a whole cell and changes nothing: the state directory of `cellmesh up` and what runs from it, or with --kubeconfig a cluster. Says of everything that is not well how it is mended (docs/check.md lists the checks). Works with the control plane down and with certificates that have ended.',
      )
      .option('--kubeconfig <file>', 'a cluster instead of this machine: a kubeconfig file, or `in-cluster`')
      .option('--namespace <name>', 'namespace of the control plane in the cluster', 'cellmesh')
      .option('--fail-before <duration>', 'fail when a certificate ends sooner than in this time', '30d')
      .option('--timeout <duration>', 'how long to wait for answers, in all', '20s')
      .option('--only <checks>', 'these checks or groups, separated by commas')
      .option('--skip <checks>', 'all but these')
      .option('--strict', 'fail on warnings too')
      .option('--list', 'say which checks there are, and look at nothing')
      .addHelpText('after', examples),
  )
    .option('--address <host:port>', "the control plane's gRPC port (default: as in the state directory)")
    .option('--admin <dir>', 'directory with an admin SVID (default: as in the state directory)')
    .action(async (options: Options) => {
      const chosen = chosenChecks(options);
      if (options.list === true) return list(chosen, options);
      const [failBeforeMs, timeoutMs] = [
        durationOf('--fail-before', options.failBefore),
        durationOf('--timeout', options.timeout),
      ];
      const results = judge(chosen, await collectFacts(options, { failBeforeMs, timeoutMs }, systemClock));
      const failed = hasFailed(results, { strict: options.strict === true });
      const told = results.map(({ check, verdict, findings }) => ({
        id: check.id,
        group: check.group,
        verdict,
        findings,
      }));
      print({ failed, counts: countOf(results), checks: told }, () => reportText(results), options);
      if (failed) process.exitCode = exitCodes.failed.code;
    });
}

/** @throws CellmeshError `config_invalid` */
function chosenChecks({ only, skip, kubeconfig, list }: Options): readonly Check[] {
  const place = kubeconfig === undefined ? 'machine' : 'cluster';
  const there = list === true ? checks : checks.filter(({ places }) => places.includes(place));
  const wanted = only === undefined ? () => true : namedIn('--only', only);
  const unwanted = skip === undefined ? () => false : namedIn('--skip', skip);
  const chosen = there.filter((check) => wanted(check) && !unwanted(check));
  if (chosen.length > 0) return chosen;
  throw new CellmeshError('config_invalid', '--only and --skip leave no check');
}

function namedIn(option: string, text: string): (check: Check) => boolean {
  const names = text.split(',').map((name) => name.trim());
  for (const name of names) {
    if (checks.some(({ id, group }) => id === name || group === name)) continue;
    throw new CellmeshError(
      'config_invalid',
      `${option}: there is no check ${name}; \`cellmesh check --list\` shows them`,
    );
  }
  return ({ id, group }) => names.includes(id) || names.includes(group);
}

function durationOf(option: string, text: string): number {
  const duration = parseDuration(text);
  if (duration === undefined) throw new CellmeshError('config_invalid', `${option} must be a duration: 30d, 12h`);
  return duration;
}

function list(chosen: readonly Check[], options: Options): void {
  const rows = chosen.map(({ id, group, places, question, pain }) => ({ id, group, places, question, pain }));
  const forPeople = () =>
    table(
      ['CHECK', 'GROUP', 'WHERE', 'ANSWERS'],
      rows.map(({ id, group, places, question }) => [id, group, places.join(', '), question]),
    );
  print(rows, forPeople, options);
}
