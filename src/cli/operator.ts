import { join } from 'node:path';
import type { Command } from 'commander';
import { ApiClient } from '#api/api-client.ts';
import { controlPlaneId, identityId } from '#certs/reserved-ids.ts';
import { parseTrustDomain, type SpiffeId, type TrustDomain, trustDomainOf } from '#certs/spiffe-id.ts';
import { readSvid } from '#certs/svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { type Address, address } from '#runtime/config.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { WatchSource } from '#runtime/watch.ts';
import { type Installation, readInstallation, region as regionDefault, stateDirDefault } from './installation.ts';
import type { ClusterAuthority, UseReplicas } from './kube/cluster-authority.ts';
import type { OutputOptions } from './output.ts';

export interface StateOptions extends OutputOptions {
  readonly state: string;
}

/** Which cluster, and which namespace of it. */
export interface ClusterOptions {
  readonly kube?: boolean;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
}

/**
 * How an operator reaches an authority: on this machine through the state directory, in a cluster through `kubectl`, anywhere else by address
 * and admin SVID.
 */
export interface AuthorityOptions extends StateOptions, ClusterOptions {
  readonly address?: string;
  readonly admin?: string;
  readonly region: string;
  readonly tokenFile?: string;
  /** Of the control plane; `cells register` has one of the name for the cell. */
  readonly trustDomain?: string;
  /** Of identity. */
  readonly globalTrustDomain?: string;
  /** Ends the wait for kubectl. */
  readonly signal?: AbortSignal;
}

type Authority = 'control plane' | 'identity';

const clusterNamespaces = { 'control plane': 'cellmesh', identity: 'cellmesh-global' } as const;
const trustDomainFlags = { 'control plane': '--trust-domain', identity: '--global-trust-domain' } as const;
const clusterOptionsHelp = 'In a cluster:';

/** `--state` and `--json`. */
export function withState(command: Command): Command {
  return command
    .option('--state <dir>', 'the state directory of `cellmesh up`', process.env['CELLMESH_STATE'] ?? stateDirDefault)
    .option('--json', 'print JSON');
}

/** `withState`, and who is asked. */
export function withAuthority(command: Command, authority: Authority): Command {
  const state = withState(command)
    .option('--address <host:port>', `the ${authority}'s gRPC port (default: as in the state directory)`)
    .option('--admin <dir>', 'directory with an admin SVID (default: as in the state directory)');
  const described = withCluster(state, `the ${authority}`, clusterNamespaces[authority])
    .option('--token-file <file>', 'a token for its SPIFFE ID (default: kubectl create token cellmesh-operator)')
    .option(
      `${trustDomainFlags[authority]} <domain>`,
      'where its roots do not name it: those of an authority of your own',
    );
  return authority === 'identity'
    ? described.optionsGroup('Options:').option('--region <name>', 'the region of identity', regionDefault)
    : described;
}

/** Which cluster, in a group of their own. @param what is to be found there */
export function withCluster(
  command: Command,
  what: string,
  namespace: string = clusterNamespaces['control plane'],
): Command {
  return command
    .optionsGroup(clusterOptionsHelp)
    .option('--kube', `${what} of the cluster that kubectl reaches`)
    .option('--kubeconfig <file>', 'with this kubeconfig file; means --kube')
    .option('--context <name>', 'with this context of it; means --kube')
    .option('--namespace <name>', `where it runs; means --kube (default: ${namespace})`);
}

/** Whether it is in a cluster. */
export function isInCluster({ kube, kubeconfig, context, namespace }: ClusterOptions): boolean {
  return kube === true || (kubeconfig ?? context ?? namespace) !== undefined;
}

/** Runs `use` with a client of the control plane, as its administrator. */
export function atControlPlane<T>(options: AuthorityOptions, use: (client: ApiClient) => Promise<T>): Promise<T> {
  if (isInCluster(options)) return atControlPlaneOfCluster(options, 'one', ([client]) => use(client!));
  return atAuthority(options, ({ controlPlane }) => controlPlane, controlPlaneId, use);
}

/** The same with a client of each replica, for what each has for itself: decisions, counts. */
export function atControlPlanes<T>(options: AuthorityOptions, use: UseReplicas<T>): Promise<T> {
  if (isInCluster(options)) return atControlPlaneOfCluster(options, 'all', use);
  return atControlPlane(options, (client) => use([client], ['the control plane']));
}

/** Runs `use` with a client of identity, as its administrator. */
export function atIdentity<T>(options: AuthorityOptions, use: (client: ApiClient) => Promise<T>): Promise<T> {
  const expectIn = (trustDomain: TrustDomain) => identityId(trustDomain, options.region);
  if (!isInCluster(options)) return atAuthority(options, ({ identity }) => identity, expectIn, use);
  const authority = {
    component: 'identity',
    port: 14030,
    trustBundle: 'cellmesh-global-trust-bundle',
    expectIn,
  } as const;
  return atClusterAuthority(authority, 'identity', options, 'one', ([client]) => use(client!));
}

function atControlPlaneOfCluster<T>(
  options: AuthorityOptions,
  replicas: 'all' | 'one',
  use: UseReplicas<T>,
): Promise<T> {
  const expectIn = controlPlaneId;
  const authority = {
    component: 'control-plane',
    port: 14010,
    trustBundle: 'cellmesh-trust-bundle',
    expectIn,
  } as const;
  return atClusterAuthority(authority, 'control plane', options, replicas, use);
}

async function atClusterAuthority<T>(
  authority: ClusterAuthority,
  name: Authority,
  {
    address: given,
    namespace = clusterNamespaces[name],
    trustDomain: ofCell,
    globalTrustDomain,
    ...options
  }: AuthorityOptions,
  replicas: 'all' | 'one',
  use: UseReplicas<T>,
): Promise<T> {
  if (options.admin !== undefined)
    throw new CellmeshError('config_invalid', '--admin is not for a cluster: a token says who calls');
  const { atCluster } = await import('./kube/cluster-authority.ts');
  const trustDomain = name === 'identity' ? globalTrustDomain : ofCell;
  const reached = {
    ...{ ...options, namespace },
    ...(given !== undefined && { address: parseAddress(given) }),
    ...(trustDomain !== undefined && { trustDomain: parseTrustDomain(trustDomain) }),
  };
  return await atCluster(authority, reached, replicas, use);
}

/** A client that calls as the administrator whose SVID lies in `directory`. Whom to expect follows from the SVID's trust domain. */
export async function adminClient(
  directory: string,
  at: Address,
  expectIn: (trustDomain: TrustDomain) => SpiffeId,
): Promise<ApiClient> {
  const { svid, bundles } = await readSvid(directory, systemClock.now());
  return new ApiClient({
    ...at,
    expect: expectIn(trustDomainOf(svid.id)),
    identity: new WatchSource({ svid, bundles }),
    clock: systemClock,
  });
}

async function atAuthority<T>(
  { state, address: given, admin }: AuthorityOptions,
  choose: (installation: Installation) => { readonly listen: Address; readonly stateDir: string },
  expectIn: (trustDomain: TrustDomain) => SpiffeId,
  use: (client: ApiClient) => Promise<T>,
): Promise<T> {
  const installed =
    given === undefined || admin === undefined
      ? choose(await readInstallation(state))
      : { listen: undefined, stateDir: '' };
  const at = given === undefined ? installed.listen! : parseAddress(given);
  using client = await adminClient(admin ?? join(installed.stateDir, 'admin'), at, expectIn);
  return await use(client);
}

function parseAddress(text: string): Address {
  try {
    return address('').parse(text);
  } catch (cause) {
    throw new CellmeshError('config_invalid', `--address ${messageOf(cause)}`, { cause });
  }
}
