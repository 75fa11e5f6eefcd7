import { type Attestor, joinTokenAttestor } from '#api/svid-issuer-service.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Logger } from '#runtime/logger.ts';
import type { JoinedByToken } from './joined-by-token.ts';
import { AttestationRejected, type ServiceAccountAttestor } from './service-account-attestor.ts';

interface EvidenceAttestorOptions {
  readonly joined: JoinedByToken;
  readonly joinTokens: JoinTokens;
  /** Absent: there is no cluster. */
  readonly serviceAccounts?: ServiceAccountAttestor | undefined;
  /** Whose evidence can be shown again: who joined by a cluster renews by it. */
  readonly lasts: (id: SpiffeId) => boolean;
  readonly logger: Logger;
}

/** Join tokens and, with a cluster, tokens of service accounts; and who must show the latter for the next SVID too. */
export function evidenceAttestor(options: EvidenceAttestorOptions): Attestor {
  const { joined, joinTokens, serviceAccounts, lasts, logger } = options;
  const byJoinToken = joinTokenAttestor(joinTokens);
  const refuse = (reason: 'evidence_missing' | 'workload_differs', id: SpiffeId, address: string) => {
    logger.warn('attestation refused', { reason, spiffeId: id, address });
    return new AttestationRejected(reason);
  };
  return {
    async attest(evidence, peerAddress) {
      if (evidence.case === 'serviceAccountToken' && serviceAccounts !== undefined)
        return await serviceAccounts.attest(evidence.value, peerAddress);
      const id = await byJoinToken.attest(evidence, peerAddress);
      await joined.add(id);
      return id;
    },
    async attestRenewal(id, evidence, peerAddress) {
      if (serviceAccounts === undefined) return await byJoinToken.attestRenewal(id, evidence, peerAddress);
      if (evidence !== undefined) {
        if ((await serviceAccounts.attest(evidence.value, peerAddress)) !== id)
          throw refuse('workload_differs', id, peerAddress);
      } else if (lasts(id) && !(await joined.has(id))) {
        throw refuse('evidence_missing', id, peerAddress);
      }
    },
  };
}
