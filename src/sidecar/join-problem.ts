import type { SpiffeId } from '#certs/spiffe-id.ts';
import { isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { SidecarConfig } from './sidecar-config.ts';

type JoinSettings = Pick<SidecarConfig, 'controlPlane' | 'joinToken' | 'attestTokenFile'>;

/**
 * Why there is no SVID yet and what to do, in one line. The same cause gives the same words at every attempt: a condition is logged when its
 * words change, and a sidecar tries for as long as it must.
 */
export function joinProblem(
  error: unknown,
  { controlPlane, joinToken, attestTokenFile }: JoinSettings,
  id: SpiffeId,
): string {
  const where = `${controlPlane.host}:${controlPlane.port}`;
  if (!isCellmeshError(error)) return messageOf(error);
  switch (error.code) {
    case 'peer_refused':
      return `${where} is not the control plane of this cell (${error.message}); check --control-plane and --trust-bundle`;
    case 'join_token_rejected':
      if (attestTokenFile !== undefined) return `${where} is older than this sidecar and takes join tokens only`;
      return `${error.message} with 'cellmesh join-token create ${id}' and write it to ${joinToken}`;
    case 'attestation_rejected':
      return `${where} does not accept the token in ${attestTokenFile}; its log says why ('attestation refused')`;
    case 'svid_unexpected':
      if (attestTokenFile !== undefined)
        return `${error.message}; the pod has another service account: check --namespace and --service-account`;
      return `${error.message}; the join token in ${joinToken} is another workload's`;
    case 'rpc_rate_limited':
      return 'the control plane is asked too often from this address; trying again until it answers';
    case 'rpc_unavailable':
      return `the control plane does not answer (${error.message}); trying again until it does`;
    default:
      return error.message;
  }
}
