import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { rootStoreIn, writeBundle } from '#certs/open-authority.ts';
import { recoverRoot } from '#certs/recover-root.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { systemClock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { systemRandom } from '#runtime/random.ts';
import { readRows } from '#runtime/sqlite.ts';
import { globalTrustDomain, readInstallation, trustDomain } from './installation.ts';
import { type ClusterOptions, isInCluster, type StateOptions, withCluster, withState } from './operator.ts';
import { print } from './output.ts';

interface RecoverOptions extends StateOptions, ClusterOptions {
  readonly of: keyof typeof kinds;
  readonly stateDir?: string;
  readonly trustDomain?: string;
}

/** Who lived below the root, and what they need to do so again. */
const kinds = {
  'control-plane': {
    trustDomain,
    database: 'control-plane.db',
    members: 'SELECT service AS id FROM registrations UNION SELECT id FROM joined_by_token ORDER BY id',
    create: 'cellmesh join-token create',
    others: 'Identity is told the new bundle by `cellmesh cells register`.',
  },
  identity: {
    trustDomain: globalTrustDomain,
    database: 'identity.db',
    members: 'SELECT DISTINCT owner AS id FROM router_keys ORDER BY id',
    create: 'cellmesh join-token create',
    others: 'Control planes and routers are started with the new bundle (`--global-bundle`).',
  },
} as const;

export function addRecover(certs: Command): void {
  const command = withState(
    certs
      .command('recover')
      .summary('make a new root where the old one has ended')
      .description(
        'Makes a new root where the old one has ended, in a state directory or in the Secret of a cluster, and says who has to join again. The process of a state directory must not run. A root that is good is replaced by `certs rotate-root`, without a break.',
      ),
  )
    .addOption(new Option('--of <authority>', 'whose root').choices(Object.keys(kinds)).default('control-plane'))
    .option('--state-dir <dir>', 'the state directory of the control plane or identity (default: that of `up`)')
    .option('--trust-domain <domain>', 'its trust domain; needed with --state-dir');
  withCluster(command, 'the Secret of the control plane').action(recover);
}

async function recover(options: RecoverOptions): Promise<void> {
  if (isInCluster(options)) return await recoverThere(options);
  const kind = kinds[options.of];
  const stateDir = await stateDirOf(options);
  const domain = options.trustDomain === undefined ? kind.trustDomain : parseTrustDomain(options.trustDomain);
  // Asked first: it is refused while the process runs.
  const mustJoin = readRows(join(stateDir, kind.database), kind.members).map(({ id }) => String(id));
  const store = rootStoreIn(stateDir, domain);
  const { former, root, bundle } = await recoverRoot({
    store,
    clock: systemClock,
    random: systemRandom,
  });
  const trustBundle = await writeBundle(stateDir, bundle);
  const report = {
    trustDomain: domain,
    ended: new Date(former.notAfter).toISOString(),
    serial: root.serial,
    notAfter: new Date(root.notAfter).toISOString(),
    trustBundle,
    mustJoin,
  };
  const forPeople = () =>
    [
      `The root of ${domain} ended ${report.ended}. A new one signs until ${report.notAfter}; whom to trust is in ${trustBundle}.`,
      mustJoin.length === 0 ? 'Nobody is known to have lived below it.' : 'These have to join again:',
      ...mustJoin.map((id) => `  ${id}`),
      `Each needs the new bundle and a join token (\`${kind.create} <SPIFFE ID>\`); a pod that joins by its service-account token needs the bundle only. \`cellmesh up\` does both by itself. ${kind.others}`,
    ].join('\n');
  print(report, forPeople, options);
}

async function recoverThere({ of, stateDir, ...options }: RecoverOptions): Promise<void> {
  if (of === 'identity' || stateDir !== undefined)
    throw new CellmeshError('config_invalid', 'in a cluster the root of a control plane alone lies in a Secret');
  const { recoverInCluster } = await import('./kube/recover-in-cluster.ts');
  await recoverInCluster(options);
}

async function stateDirOf({ of, stateDir, trustDomain, state }: RecoverOptions): Promise<string> {
  if (stateDir !== undefined) {
    if (trustDomain !== undefined) return stateDir;
    throw new CellmeshError('config_invalid', '--state-dir needs --trust-domain');
  }
  const { controlPlane, identity } = await readInstallation(state);
  return of === 'identity' ? identity.stateDir : controlPlane.stateDir;
}
