import type { DatabaseSync } from 'node:sqlite';
import { type Attestor, joinTokenAttestor } from '#api/svid-issuer-service.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import { type SpiffeId, type TrustDomain, workloadOf } from '#certs/spiffe-id.ts';
import type { ControlPlaneConfig } from './settings.ts';
import type { ProcessDependencies } from './start-control-plane.ts';

/** Who has joined by a token, which is good once: whoever has not must show evidence at each renewal. */
export const joinedByTokenMigration = `
CREATE TABLE joined_by_token (
  id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;`;

interface AttestationOptions extends ProcessDependencies {
  readonly config: ControlPlaneConfig;
  readonly database: DatabaseSync;
  readonly joinTokens: JoinTokens;
  readonly trustDomain: TrustDomain;
}

/**
 * Which evidence this control plane takes: join tokens, and with `--kubernetes` tokens of service accounts too.
 * @throws CellmeshError `config_invalid`, `document_invalid`, `file_unreadable` for a kubeconfig that cannot be used
 */
export async function openAttestation(options: AttestationOptions): Promise<Attestor & AsyncDisposable> {
  const { database, joinTokens, config } = options;
  const remember = database.prepare('INSERT OR IGNORE INTO joined_by_token (id) VALUES (?)');
  const byJoinToken = joinTokenAttestor(joinTokens);
  const attest: Attestor['attest'] = async (evidence, peerAddress) => {
    const id = await byJoinToken.attest(evidence, peerAddress);
    remember.run(id);
    return id;
  };
  if (config.kubernetes === undefined) return { ...byJoinToken, attest, async [Symbol.asyncDispose]() {} };
  return await openKubernetesAttestation(options, config.kubernetes, attest);
}

async function openKubernetesAttestation(
  { config, database, trustDomain, logger, clock, random }: AttestationOptions,
  kubernetes: string,
  attestByJoinToken: Attestor['attest'],
): Promise<Attestor & AsyncDisposable> {
  const { readClusterAccess } = await import('./kubernetes/cluster-access.ts');
  const { KubernetesClient } = await import('./kubernetes/client.ts');
  const { AttestationRejected, ServiceAccountAttestor } = await import('./kubernetes/service-account-attestor.ts');
  const access = await readClusterAccess(kubernetes, process.env);
  const client = await KubernetesClient.open({ access, clock, random });
  const { attestAudience: audience, attestAddresses: comparesAddresses } = config;
  const pods = new ServiceAccountAttestor({ client, trustDomain, audience, comparesAddresses, logger });
  const hasJoined = database.prepare('SELECT 1 FROM joined_by_token WHERE id = ?');
  const refuse = (reason: 'evidence_missing' | 'workload_differs', id: SpiffeId, address: string) => {
    logger.warn('attestation refused', { reason, spiffeId: id, address });
    return new AttestationRejected(reason);
  };
  return {
    attest: (evidence, peerAddress) =>
      evidence.case === 'serviceAccountToken'
        ? pods.attest(evidence.value, peerAddress)
        : attestByJoinToken(evidence, peerAddress),
    async attestRenewal(id, evidence, peerAddress) {
      if (evidence !== undefined) {
        if ((await pods.attest(evidence.value, peerAddress)) !== id) throw refuse('workload_differs', id, peerAddress);
      } else if (workloadOf(id) !== undefined && hasJoined.get(id) === undefined) {
        throw refuse('evidence_missing', id, peerAddress);
      }
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}
