import { type ServedService, served } from '#api/api-server.ts';
import { ControlPlane } from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import { parseSpiffeId } from '#certs/spiffe-id.ts';
import type { FeedServer } from '#feeds/feed-server.ts';
import type { PolicySource } from './policy-source.ts';

/** What operators ask of a cell's control plane. */
export function controlPlaneService(joinTokens: JoinTokens, policy: PolicySource, feeds: FeedServer): ServedService {
  return served(ControlPlane, {
    async createJoinToken({ spiffeId }) {
      const { token, expiresAt } = await joinTokens.create({ id: parseSpiffeId(spiffeId) });
      return { joinToken: token.reveal(), expiresAt: BigInt(expiresAt) };
    },
    async getStatus() {
      const { document, compiled } = policy.cell.current;
      return {
        cellId: document.id,
        trustDomain: document.trustDomain,
        policyVersion: compiled.version,
        policyProblems: [...policy.problems],
        subscribers: subscribersOf(feeds),
      };
    },
  });
}

function subscribersOf(feeds: FeedServer) {
  return feeds.subscribers().map(({ subscriber, registration, types }) => ({
    spiffeId: subscriber.caller.peer?.id ?? '',
    instance: subscriber.instance,
    address: registration === undefined ? '' : `${registration.address}:${registration.port}`,
    types: types.map(({ type, revisionSent, revisionAcked, nackReason }) => ({
      type,
      revisionSent: BigInt(revisionSent),
      revisionAcked: BigInt(revisionAcked),
      nackReason: nackReason ?? '',
    })),
  }));
}
