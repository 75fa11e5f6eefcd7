import { type ServedService, served } from '#api/api-server.ts';
import { Rollouts as Service } from '#api/generated/cellmesh/policy/v1/rollouts_pb.ts';
import type { Counts, Rollouts } from './rollouts.ts';

/** `Rollouts`: sidecars tell what candidates say, operators ask. */
export function rolloutService(rollouts: Rollouts): ServedService {
  return served(Service, {
    async report({ run, version, allowed, newlyDenied, newlyAllowed }, caller) {
      const counts = { allowed: Number(allowed), newlyDenied: Number(newlyDenied), newlyAllowed: Number(newlyAllowed) };
      rollouts.report(caller.peer!.id, run, version, counts);
      return {};
    },
    async list() {
      return {
        rollouts: rollouts.states().map(({ withdrawnAtMs, ...state }) => ({
          service: state.service,
          version: state.version,
          percent: state.percent,
          newlyDeniedMax: state.newlyDeniedMax,
          requestsMin: BigInt(state.requestsMin),
          ...wholeOf(state),
          ...(withdrawnAtMs !== undefined && { withdrawnAtMs: BigInt(withdrawnAtMs) }),
          isOverWithoutReturn: state.isOverWithoutReturn,
          runs: state.runs.map(({ run, ...counts }) => ({ run, ...wholeOf(counts) })),
        })),
      };
    },
  });
}

function wholeOf(counts: Counts) {
  return {
    allowed: BigInt(counts.allowed),
    newlyDenied: BigInt(counts.newlyDenied),
    newlyAllowed: BigInt(counts.newlyAllowed),
  };
}
