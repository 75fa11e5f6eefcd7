import {
  ControlPlane,
  type GetStatusResponse,
  type Subscriber,
} from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import { Rollouts } from '#api/generated/cellmesh/policy/v1/rollouts_pb.ts';
import type { Clock } from '#runtime/clock.ts';
import { type AuthorityOptions, atControlPlane } from '../../operator.ts';
import { type ControlPlaneFacts, type Fact, factOf, type RolloutFacts, type SubscriberFacts } from '../facts.ts';
import { rootsOf } from './authorities.ts';

interface Asked {
  readonly controlPlane: Fact<ControlPlaneFacts>;
  readonly rollouts: Fact<readonly RolloutFacts[]>;
}

/** Asks the control plane, wherever it is. What keeps it from answering is a fact too. */
export async function askControlPlane(options: AuthorityOptions, clock: Clock, signal: AbortSignal): Promise<Asked> {
  const asked = await factOf(
    () =>
      atControlPlane(here(options), async (client): Promise<Asked> => {
        // First, so that the time of the second call is not that of a handshake.
        const rollouts = await factOf(async () => {
          const { rollouts } = await client.call(Rollouts.method.list, {}, signal);
          return rollouts.map(({ service, percent, withdrawnAtMs, newlyDenied, allowed }) => ({
            ...{ service, percent, isWithdrawn: withdrawnAtMs !== undefined },
            ...{ newlyDenied: Number(newlyDenied), allowed: Number(allowed) },
          }));
        }, signal);
        const sentMs = clock.now();
        const status = await client.call(ControlPlane.method.getStatus, {}, signal);
        const controlPlane = { value: controlPlaneFactsOf(status, sentMs, clock.now()) };
        return { controlPlane, rollouts };
      }),
    signal,
  );
  return 'value' in asked ? asked.value : { controlPlane: asked, rollouts: asked };
}

function controlPlaneFactsOf(status: GetStatusResponse, sentMs: number, receivedMs: number): ControlPlaneFacts {
  const { version, nodeVersion, policyVersion, policyProblems, trustBundle, subscribers } = status;
  const { time, decisions, tokenKeys, openFiles } = status;
  return {
    ...{ sentMs, receivedMs, version, nodeVersion, policyVersion, policyProblems },
    roots: trustBundle === '' ? undefined : rootsOf(trustBundle).map(({ der }) => der),
    timeMs: time === 0n ? undefined : Number(time),
    subscribers: subscribers.map(subscriberFactsOf),
    decisions: decisions && {
      records: Number(decisions.records),
      bytes: Number(decisions.bytes),
      bytesMax: Number(decisions.bytesMax),
    },
    tokenKeys: tokenKeys && {
      count: tokenKeys.count,
      isConnected: tokenKeys.isConnected,
      ageMs: tokenKeys.ageMs === undefined ? undefined : Number(tokenKeys.ageMs),
    },
    openFiles: openFiles && {
      open: Number(openFiles.open),
      max: openFiles.max === 0n ? Number.POSITIVE_INFINITY : Number(openFiles.max),
    },
  };
}

function subscriberFactsOf({ spiffeId, instance, version, types }: Subscriber): SubscriberFacts {
  return {
    name: `${spiffeId} (${instance})`,
    version,
    types: types.map(({ type, revisionSent, revisionAcked, nackReason }) => ({
      ...{ type, nackReason },
      revisionSent: Number(revisionSent),
      revisionAcked: Number(revisionAcked),
    })),
  };
}

/** Where a cluster is looked at, its control plane is called by address and SVID, not through `kubectl`. */
function here({ kubeconfig: _, namespace: __, ...options }: AuthorityOptions): AuthorityOptions {
  return options;
}
