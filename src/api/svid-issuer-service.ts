import type { Authority } from '#certs/authority.ts';
import { verifyCsr } from '#certs/csr.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import type { SvidRequester } from '#certs/renew-svid.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { ApiClient } from './api-client.ts';
import { type ServedService, served } from './api-server.ts';
import { type JoinRequest, type RenewRequest, SvidIssuer } from './generated/cellmesh/certs/v1/svid_issuer_pb.ts';

/** What a workload shows for who it is. */
export type Evidence = Extract<JoinRequest['evidence'], { readonly case: string }>;
/** What can be shown more than once. */
export type LastingEvidence = Extract<RenewRequest['evidence'], { readonly case: string }>;

/** Port: from evidence to an identity. It runs after the request's own signature has been checked. */
export interface Attestor {
  /**
   * Spends evidence that is good once.
   * @throws CellmeshError: a refusal with its reason
   */
  attest(evidence: Evidence, peerAddress: string): Promise<SpiffeId>;
  /**
   * Whether `id`, proven by its live SVID, may have another one by what it shows besides.
   * @throws CellmeshError when it may not
   */
  attestRenewal(id: SpiffeId, evidence: LastingEvidence | undefined, peerAddress: string): Promise<void>;
}

interface SvidIssuerServiceOptions {
  readonly authority: Authority;
  readonly attestor: Attestor;
  readonly logger: Logger;
}

/** `SvidIssuer`, for control planes and identity alike: who may ask differs, how it is answered does not. */
export function svidIssuerService({ authority, attestor, logger }: SvidIssuerServiceOptions): ServedService {
  const issue = async (id: SpiffeId, csr: Buffer, how: string) => {
    const { publicKey } = verifyCsr(csr);
    const issued = await authority.issue({ id, publicKey });
    logger.info('SVID issued', { id, how, serial: issued.serial, notAfter: new Date(issued.notAfter).toISOString() });
    return { chain: [...issued.chainDer], spiffeId: id };
  };
  return served(SvidIssuer, {
    async join({ csr: der, evidence }, caller) {
      const csr = Buffer.from(der);
      verifyCsr(csr);
      // An empty join token is not written into a message.
      const shown = evidence.case === undefined ? { case: 'joinToken' as const, value: '' } : evidence;
      return issue(await attestor.attest(shown, caller.address), csr, 'join');
    },
    async renew({ csr: der, evidence }, caller) {
      const csr = Buffer.from(der);
      verifyCsr(csr);
      const { id } = caller.peer!;
      await attestor.attestRenewal(id, evidence.case === undefined ? undefined : evidence, caller.address);
      return issue(id, csr, 'renewal');
    },
  });
}

/** Join tokens for the first SVID, and the live SVID alone for the next ones. */
export function joinTokenAttestor(joinTokens: JoinTokens): Attestor {
  return {
    async attest(evidence) {
      if (evidence.case !== 'joinToken') throw noAttestor();
      return joinTokens.redeem(evidence.value);
    },
    async attestRenewal(_, evidence) {
      if (evidence !== undefined) throw noAttestor();
    },
  };
}

function noAttestor(): CellmeshError {
  return new CellmeshError(
    'attestation_unavailable',
    'service-account tokens are not accepted here, since it was started without --kubernetes',
  );
}

/** Asks for the first SVID. Evidence is asked for at every attempt: what lies in a file is replaced as it ends. */
export function joinRequester(client: ApiClient, evidence: () => Promise<Evidence>): SvidRequester {
  return {
    async requestSvid(csr, signal) {
      const { chain } = await client.call(SvidIssuer.method.join, { evidence: await evidence(), csr }, signal);
      return { chainDer: chain };
    },
  };
}

/** Asks for the next SVID, by the one in use, and by evidence where there is some that lasts. */
export function renewalRequester(
  client: ApiClient,
  evidence: () => Promise<LastingEvidence | undefined> = async () => undefined,
): SvidRequester {
  return {
    async requestSvid(csr, signal) {
      const shown = await evidence();
      const request = { csr, ...(shown !== undefined && { evidence: shown }) };
      const { chain } = await client.call(SvidIssuer.method.renew, request, signal);
      return { chainDer: chain };
    },
  };
}
