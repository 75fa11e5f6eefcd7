import { type ServedService, served } from '#api/api-server.ts';
import { ControlPlane } from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import { parseSpiffeId } from '#certs/spiffe-id.ts';
import { serializeTrustBundle, type TrustBundles } from '#certs/trust-bundle.ts';
import type { DecisionStore } from '#feeds/decision-store.ts';
import type { FeedServer } from '#feeds/feed-server.ts';
import type { Clock } from '#runtime/clock.ts';
import { readOpenFiles } from '#runtime/open-files.ts';
import { version } from '#runtime/version.ts';
import type { Watch } from '#runtime/watch.ts';
import type { KeySet } from '#tokens/key-set.ts';
import type { IdentityFeed } from './identity-feed.ts';
import type { PolicySource } from './policy-source.ts';

interface StatusSources {
  readonly joinTokens: JoinTokens;
  readonly policy: PolicySource;
  readonly feeds: FeedServer;
  readonly bundles: Watch<TrustBundles>;
  readonly decisions: DecisionStore;
  readonly keySet: Watch<KeySet | undefined>;
  /** Where keys come from; undefined for a cell without identity. */
  readonly identityFeed: IdentityFeed | undefined;
  readonly clock: Clock;
}

/** What operators ask of a cell's control plane. */
export function controlPlaneService(sources: StatusSources): ServedService {
  const { joinTokens, policy, feeds, bundles, clock } = sources;
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
        version,
        nodeVersion: process.versions.node,
        time: BigInt(clock.now()),
        trustBundle: serializeTrustBundle(bundles.current.get(document.trustDomain)!),
        ...storedOf(sources),
        ...keysOf(sources),
        ...(await openFiles()),
      };
    },
  });
}

function storedOf({ decisions }: StatusSources) {
  const [records, bytes, bytesMax] = [decisions.count(), decisions.bytes(), decisions.bytesMax].map(BigInt);
  return { decisions: { records: records!, bytes: bytes!, bytesMax: bytesMax! } };
}

function keysOf({ identityFeed, keySet }: StatusSources) {
  if (identityFeed === undefined) return {};
  const { isConnected, ageMs } = identityFeed.feed;
  const age = Number.isFinite(ageMs) ? { ageMs: BigInt(ageMs) } : {};
  return { tokenKeys: { count: keySet.current?.size ?? 0, isConnected, ...age } };
}

async function openFiles() {
  const found = await readOpenFiles();
  if (found === undefined) return {};
  return { openFiles: { open: BigInt(found.open), max: BigInt(Number.isFinite(found.max) ? found.max : 0) } };
}

function subscribersOf(feeds: FeedServer) {
  return feeds.subscribers().map(({ subscriber, registration, types }) => ({
    spiffeId: subscriber.caller.peer?.id ?? '',
    instance: subscriber.instance,
    version: subscriber.version,
    address: registration === undefined ? '' : `${registration.address}:${registration.port}`,
    types: types.map(({ type, revisionSent, revisionAcked, nackReason }) => ({
      type,
      revisionSent: BigInt(revisionSent),
      revisionAcked: BigInt(revisionAcked),
      nackReason: nackReason ?? '',
    })),
  }));
}
