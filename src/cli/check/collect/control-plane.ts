import type { ApiClient } from '#api/api-client.ts';
import {
  ControlPlane,
  type GetStatusResponse,
  type Subscriber,
} from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import type { Clock } from '#runtime/clock.ts';
import { type AuthorityOptions, atControlPlanes, atIdentity } from '../../operator.ts';
import { rolloutsOfAll } from '../../policy/rollouts-of-all.ts';
import { type RootsReport, showRoots } from '../../roots.ts';
import {
  type ControlPlaneFacts,
  type Fact,
  type Facts,
  factOf,
  type RolloutFacts,
  type SubscriberFacts,
} from '../facts.ts';
import { rootsOf } from './authorities.ts';
import { plaintextCallersOf } from './plaintext-callers.ts';

interface Asked {
  readonly controlPlane: Facts['controlPlane'];
  readonly rollouts: Fact<readonly RolloutFacts[]>;
  readonly rotations: Facts['rotations'];
  readonly plaintextCallers: Facts['plaintextCallers'];
}

/**
 * Asks every replica of the control plane, wherever it is. What keeps it from answering is a fact too.
 * @param hearsPlaintext whether a service does, so that callers are looked for
 */
export async function askControlPlane(
  options: AuthorityOptions,
  hearsPlaintext: Promise<boolean>,
  clock: Clock,
  signal: AbortSignal,
): Promise<Asked> {
  const asked = await factOf(
    () =>
      atControlPlanes({ ...options, signal }, async (clients, names): Promise<Asked> => {
        // First, so that the time of the second call is not that of a handshake.
        const rollouts = await factOf(() => rolloutsOf(clients, signal), signal);
        const replicas = clients.map(async (client, at) => ({
          name: names[at]!,
          said: await factOf(() => statusOf(client, clock, signal), signal),
        }));
        const roots = clients.map((client) => factOf(() => showRoots((use) => use(client)), signal));
        return {
          controlPlane: await Promise.all(replicas),
          rollouts,
          rotations: rotationsOf(await Promise.all(roots)),
          plaintextCallers: (await hearsPlaintext)
            ? await factOf(() => plaintextCallersOf(clients, clock.now()), signal)
            : undefined,
        };
      }),
    signal,
  );
  if ('value' in asked) return asked.value;
  return {
    controlPlane: [{ name: 'the control plane', said: asked }],
    rollouts: asked,
    rotations: [{ of: 'the cell', roots: asked }],
    plaintextCallers: (await hearsPlaintext) ? asked : undefined,
  };
}

/** Replicas that keep the same roots say the same of them. */
function rotationsOf(all: readonly Fact<RootsReport>[]): Facts['rotations'] {
  const distinct = new Map(all.map((roots) => [JSON.stringify('value' in roots ? roots.value.roots : roots), roots]));
  return [...distinct.values()].map((roots) => ({ of: 'the cell', roots }));
}

/** The roots of the global trust domain. */
export async function askIdentity(options: AuthorityOptions, signal: AbortSignal): Promise<Facts['rotations']> {
  const roots = await factOf(() => showRoots((use) => atIdentity({ ...options, signal }, use)), signal);
  return [{ of: 'the global trust domain', roots }];
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
