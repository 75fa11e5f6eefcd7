import { join } from 'node:path';
import type { Command } from 'commander';
import { ApiClient } from '#api/api-client.ts';
import { controlPlaneId, identityId } from '#certs/reserved-ids.ts';
import { type SpiffeId, type TrustDomain, trustDomainOf } from '#certs/spiffe-id.ts';
import { readSvid } from '#certs/svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { type Address, address } from '#runtime/config.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { WatchSource } from '#runtime/watch.ts';
import { type Installation, readInstallation, region as regionDefault, stateDirDefault } from './installation.ts';
import type { OutputOptions } from './output.ts';

export interface StateOptions extends OutputOptions {
  readonly state: string;
}

/** How an operator reaches an authority: on this machine through the state directory, anywhere else by address and admin SVID. */
export interface AuthorityOptions extends StateOptions {
  readonly address?: string;
  readonly admin?: string;
  readonly region: string;
}

type Authority = 'control plane' | 'identity';

/** `--state` and `--json`. */
export function withState(command: Command): Command {
  return command
    .option('--state <dir>', 'the state directory of `cellmesh up`', process.env['CELLMESH_STATE'] ?? stateDirDefault)
    .option('--json', 'print JSON');
}

/** `withState`, and who is asked. */
export function withAuthority(command: Command, authority: Authority): Command {
  const described = withState(command)
    .option('--address <host:port>', `the ${authority}'s gRPC port (default: as in the state directory)`)
    .option('--admin <dir>', 'directory with an admin SVID (default: as in the state directory)');
  return authority === 'identity'
    ? described.option('--region <name>', 'the region of identity', regionDefault)
    : described;
}

/** Runs `use` with a client of the control plane, as its administrator. */
export function atControlPlane<T>(options: AuthorityOptions, use: (client: ApiClient) => Promise<T>): Promise<T> {
  return atAuthority(options, ({ controlPlane }) => controlPlane, controlPlaneId, use);
}

/** Runs `use` with a client of identity, as its administrator. */
export function atIdentity<T>(options: AuthorityOptions, use: (client: ApiClient) => Promise<T>): Promise<T> {
  const expect = (trustDomain: TrustDomain) => identityId(trustDomain, options.region);
  return atAuthority(options, ({ identity }) => identity, expect, use);
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
