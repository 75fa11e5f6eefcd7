import { observeReports } from '#feeds/observe-decisions.ts';
import type { FeedType } from '#feeds/snapshot.ts';
import type { Metrics, Sample } from '#runtime/metrics.ts';
import { readOpenFiles } from '#runtime/open-files.ts';
import { version } from '#runtime/version.ts';
import type { CandidateCounts, CandidateTally } from './candidate-tally.ts';
import type { DataPlane } from './data-plane.ts';
import type { Membership } from './membership.ts';
import type { SidecarState } from './sidecar-state.ts';
import type { Sidecar } from './start-sidecar.ts';

const shownTypes: readonly FeedType[] = ['bundles', 'keys', 'policy', 'endpoints'];

/** What an operator sees through the admin socket: names, numbers and times; no token, handle or key (DESIGN.md 6). */
export async function summaryOf(
  sidecar: Pick<Sidecar, 'id' | 'instance' | 'lifecycle' | 'ports' | 'notReady'>,
  state: SidecarState,
  { identity, feed, reporter }: Membership,
  dataPlane: DataPlane | undefined,
): Promise<unknown> {
  const leaf = identity?.tls.current.svid.chain[0];
  const snapshot = state.policy.current?.snapshot;
  return {
    spiffeId: sidecar.id,
    instance: sidecar.instance,
    version,
    nodeVersion: process.versions.node,
    openFiles: await readOpenFiles(),
    phase: sidecar.lifecycle.phase.current.tag,
    notReady: sidecar.notReady(),
    ports: sidecar.ports,
    svid: leaf && { serial: leaf.serial, notAfter: timeOf(leaf.notAfter) },
    bundles: [...(identity?.tls.current.bundles.values() ?? [])].map(({ trustDomain, sequence, roots }) => ({
      trustDomain,
      sequence,
      roots: roots.length,
    })),
    policy: snapshot && { version: snapshot.version, service: snapshot.service.name, mode: snapshot.mode },
    keys: { version: state.keySet.current.version, count: state.keySet.current.size },
    endpoints: Object.fromEntries([...state.endpoints.current].map(([service, instances]) => [service, instances])),
    controlPlane: feed && {
      isConnected: feed.isConnected,
      ageMs: Number.isFinite(feed.ageMs) ? feed.ageMs : null,
      isStale: feed.isStale,
      revisions: Object.fromEntries(shownTypes.map((type) => [type, feed.revisionOf(type) ?? null])),
    },
    decisions: reporter && { waiting: reporter.waiting, dropped: reporter.dropped },
    requests: await dataPlane?.summary(),
  };
}

/** Ages and ends, for alerts: what the control plane last said, and how long the SVID still holds. */
export function observeState(
  metrics: Metrics,
  state: SidecarState,
  membership: Membership,
  candidates: CandidateTally,
): void {
  metrics.observed(
    'cellmesh_feed_age_seconds',
    'Since the control plane last stood by what is held; -1 before.',
    () => {
      const ageMs = membership.feed?.ageMs ?? Number.POSITIVE_INFINITY;
      return Number.isFinite(ageMs) ? ageMs / 1000 : -1;
    },
  );
  metrics.observed('cellmesh_feed_connected', '1 while connected to the control plane.', () =>
    membership.feed?.isConnected ? 1 : 0,
  );
  metrics.observed('cellmesh_svid_not_after_seconds', 'End of the SVID, in seconds since the epoch; 0 before.', () => {
    return (membership.identity?.tls.current.svid.chain[0]?.notAfter ?? 0) / 1000;
  });
  metrics.observed(
    'cellmesh_plaintext_until_seconds',
    'Until when callers without TLS are heard, in seconds since the epoch; 0: never.',
    () => (state.policy.current?.snapshot.plaintextUntilMs ?? 0) / 1000,
  );
  metrics.observed('cellmesh_keys', 'Keys that tokens are verified with.', () => state.keySet.current.size);
  observeReports(metrics, () => membership.reporter);
  metrics.family({
    name: 'cellmesh_candidate_requests_total',
    help: 'Requests that the version in force allowed, those of them that the candidate denies, and those that it alone allows.',
    type: 'counter',
    read: () => candidates.all().flatMap(candidateSamples),
  });
}

function candidateSamples({ version, ...counts }: CandidateCounts): Sample[] {
  const named = { allowed: counts.allowed, newly_denied: counts.newlyDenied, newly_allowed: counts.newlyAllowed };
  return Object.entries(named).map(([outcome, value]) => ({ labels: { version, outcome }, value }));
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
