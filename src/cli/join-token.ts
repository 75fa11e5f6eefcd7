import type { Command } from 'commander';
import { ControlPlane } from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { isRouterId } from '#certs/reserved-ids.ts';
import { parseSpiffeId, trustDomainOf } from '#certs/spiffe-id.ts';
import { systemClock } from '#runtime/clock.ts';
import { region } from './installation.ts';
import { type AuthorityOptions, atControlPlane, atIdentity, withAuthority } from './operator.ts';
import { distance, print } from './output.ts';

/** Evidence for the first SVID of a workload or a router. */
export function addJoinToken(program: Command): void {
  const joinToken = program
    .command('join-token')
    .summary('first trust of a new workload')
    .description('First trust of a new workload.');
  withAuthority(
    joinToken
      .command('create')
      .description(
        "Creates a token with which one process obtains one identity, once, within ten minutes. It is asked of the cell's control plane; for a router's identity, of identity.",
      )
      .argument('<spiffe-id>', 'spiffe://<cell>.<domain>/ns/<namespace>/sa/<service-account>'),
    'control plane',
  ).action(async (text: string, options: AuthorityOptions) => {
    const id = parseSpiffeId(text);
    const request = { spiffeId: id };
    const { joinToken, expiresAt } = isRouterId(trustDomainOf(id), id)
      ? await atIdentity({ ...options, region }, (client) =>
          client.call(IdentityAdmin.method.createRouterJoinToken, request),
        )
      : await atControlPlane(options, (client) => client.call(ControlPlane.method.createJoinToken, request));
    const ends = Number(expiresAt);
    const forPeople = () => {
      process.stderr.write(
        `for ${id}, once, until ${new Date(ends).toISOString()} (${distance(ends, systemClock.now())})\n`,
      );
      return joinToken;
    };
    print({ spiffeId: id, joinToken, expiresAt: new Date(ends).toISOString() }, forPeople, options);
  });
}
