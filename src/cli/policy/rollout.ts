import type { Command } from 'commander';
import type { Rollout } from '#api/generated/cellmesh/policy/v1/rollouts_pb.ts';
import { type AuthorityOptions, atControlPlanes, withAuthority } from '../operator.ts';
import { print, table } from '../output.ts';
import { rolloutsOfAll } from './rollouts-of-all.ts';

/** How candidates fare beside the versions in force. */
export function addRollout(policy: Command): void {
  withAuthority(
    policy
      .command('rollout')
      .description(
        'Shows the candidates that are tried beside the versions in force: for how many accounts, and what they would deny and allow otherwise.',
      ),
    'control plane',
  ).action(async (options: AuthorityOptions) => {
    const rollouts = await atControlPlanes(options, (clients) => rolloutsOfAll(clients));
    const rows = rollouts.map(rowOf);
    print(rows, () => (rows.length === 0 ? noneText : tableOf(rows)), options);
  });
}

const noneText = 'No candidate is tried. A manifest with `rollout` makes one.';

type Row = ReturnType<typeof rowOf>;

function rowOf(rollout: Rollout) {
  const { service, version, percent, newlyDeniedMax, withdrawnAtMs } = rollout;
  const [allowed, newlyDenied, newlyAllowed] = [rollout.allowed, rollout.newlyDenied, rollout.newlyAllowed].map(Number);
  const withdrawnAt = withdrawnAtMs === undefined ? undefined : new Date(Number(withdrawnAtMs)).toISOString();
  const requestsMin = Number(rollout.requestsMin);
  return {
    ...{ service, version, percent, newlyDeniedMax, requestsMin, allowed, newlyDenied, newlyAllowed },
    ...(withdrawnAt !== undefined && { withdrawnAt }),
    isOverWithoutReturn: rollout.isOverWithoutReturn,
  };
}

function tableOf(rows: readonly Row[]): string {
  return table(
    ['SERVICE', 'CANDIDATE', 'ACCOUNTS', 'ALLOWED BEFORE', 'NEWLY DENIED', 'NEWLY ALLOWED', 'STATE'],
    rows.map((row) => [
      row.service,
      row.version,
      `${row.percent} %`,
      String(row.allowed),
      `${row.newlyDenied} (${shareOf(row)}, at most ${row.newlyDeniedMax} %)`,
      String(row.newlyAllowed),
      stateOf(row),
    ]),
  );
}

function shareOf({ allowed = 0, newlyDenied = 0 }: Row): string {
  return allowed === 0 ? '-' : `${((newlyDenied / allowed) * 100).toFixed(2)} %`;
}

function stateOf({ withdrawnAt, isOverWithoutReturn, requestsMin, allowed = 0 }: Row): string {
  if (withdrawnAt !== undefined) return `withdrawn ${withdrawnAt}`;
  if (isOverWithoutReturn) return 'over its bound, and kept: the version beside it is in audit';
  return allowed < requestsMin ? `tried, judged after ${requestsMin} requests` : 'tried';
}
