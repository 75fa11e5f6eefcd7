import type { ApiClient } from '#api/api-client.ts';
import {
  ControlPlane,
  type GetStatusResponse,
  type Subscriber,
} from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import type { Clock } from '#runtime/clock.ts';
import { type AuthorityOptions, atControlPlanes } from '../../operator.ts';
import { rolloutsOfAll } from '../../policy/rollouts-of-all.ts';
import {
  type ControlPlaneFacts,
  type Fact,
  type Facts,
  factOf,
  type RolloutFacts,
  type SubscriberFacts,
} from '../facts.ts';
import { rootsOf } from './authorities.ts';

interface Asked {
  readonly controlPlane: Facts['controlPlane'];
  readonly rollouts: Fact<readonly RolloutFacts[]>;
}

/** Asks every replica of the control plane, wherever it is. What keeps it from answering is a fact too. */
export async function askControlPlane(options: AuthorityOptions, clock: Clock, signal: AbortSignal): Promise<Asked> {
  const asked = await factOf(
    () =>
      atControlPlanes({ ...options, signal }, async (clients, names): Promise<Asked> => {
        // First, so that the time of the second call is not that of a handshake.
        const rollouts = await factOf(() => rolloutsOf(clients, signal), signal);
        const controlPlane = clients.map(async (client, at) => ({
          name: names[at]!,
          said: await factOf(() => statusOf(client, clock, signal), signal),
        }));
        return { controlPlane: await Promise.all(controlPlane), rollouts };
      }),
    signal,
  );
  if ('value' in asked) return asked.value;
  return { controlPlane: [{ name: 'the control plane', said: asked }], rollouts: asked };
}

async function rolloutsOf(clients: readonly ApiClient[], signal: AbortSignal): Promise<readonly RolloutFacts[]> {
  return (await rolloutsOfAll(clients, signal)).map(({ service, percent, withdrawnAtMs, newlyDenied, allowed }) => ({
    ...{ service, percent, isWithdrawn: withdrawnAtMs !== undefined },
    ...{ newlyDenied: Number(newlyDenied), allowed: Number(allowed) },
  }));
}

async function statusOf(client: ApiClient, clock: Clock, signal: AbortSignal): Promise<ControlPlaneFacts> {
  const sentMs = clock.now();
  const status = await client.call(ControlPlane.method.getStatus, {}, signal);
  return controlPlaneFactsOf(status, sentMs, clock.now());
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
