import type { DatabaseSync } from 'node:sqlite';
import { type Attestor, joinTokenAttestor } from '#api/svid-issuer-service.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Logger } from '#runtime/logger.ts';
import { AttestationRejected, type ServiceAccountAttestor } from './service-account-attestor.ts';

/** Who has joined by a token, which is good once: whoever has not must show evidence at each renewal. */
export const joinedByTokenMigration = `
CREATE TABLE joined_by_token (
  id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;`;

interface EvidenceAttestorOptions {
  /** Has `joinedByTokenMigration`. */
  readonly database: DatabaseSync;
  readonly joinTokens: JoinTokens;
  /** Absent: there is no cluster. */
  readonly serviceAccounts?: ServiceAccountAttestor | undefined;
  /** Whose evidence can be shown again: who joined by a cluster renews by it. */
  readonly lasts: (id: SpiffeId) => boolean;
  readonly logger: Logger;
}

/** Join tokens and, with a cluster, tokens of service accounts; and who must show the latter for the next SVID too. */
export function evidenceAttestor(options: EvidenceAttestorOptions): Attestor {
  const { database, joinTokens, serviceAccounts, lasts, logger } = options;
  const byJoinToken = joinTokenAttestor(joinTokens);
  const remember = database.prepare('INSERT OR IGNORE INTO joined_by_token (id) VALUES (?)');
  const hasJoined = database.prepare('SELECT 1 FROM joined_by_token WHERE id = ?');
  const refuse = (reason: 'evidence_missing' | 'workload_differs', id: SpiffeId, address: string) => {
    logger.warn('attestation refused', { reason, spiffeId: id, address });
    return new AttestationRejected(reason);
  };
  return {
    async attest(evidence, peerAddress) {
      if (evidence.case === 'serviceAccountToken' && serviceAccounts !== undefined)
        return await serviceAccounts.attest(evidence.value, peerAddress);
      const id = await byJoinToken.attest(evidence, peerAddress);
      remember.run(id);
      return id;
    },
    async attestRenewal(id, evidence, peerAddress) {
      if (serviceAccounts === undefined) return await byJoinToken.attestRenewal(id, evidence, peerAddress);
      if (evidence !== undefined) {
        if ((await serviceAccounts.attest(evidence.value, peerAddress)) !== id)
          throw refuse('workload_differs', id, peerAddress);
      } else if (lasts(id) && hasJoined.get(id) === undefined) {
        throw refuse('evidence_missing', id, peerAddress);
      }
    },
  };
}
