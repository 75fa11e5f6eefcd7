import type { Authority } from '#certs/authority.ts';
import { verifyCsr } from '#certs/csr.ts';
import type { SvidRequester } from '#certs/renew-svid.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Logger } from '#runtime/logger.ts';
import type { ApiClient } from './api-client.ts';
import { type ServedService, served } from './api-server.ts';
import { SvidIssuer } from './generated/cellmesh/certs/v1/svid_issuer_pb.ts';

/** What an attestor concludes from evidence. */
interface Attested {
  readonly spiffeId: SpiffeId;
}

/**
 * Port: from evidence to an identity. It runs after the request's own signature has been checked, and spends evidence that is good once.
 * @throws CellmeshError: a refusal with its reason
 */
type Attestor = (evidence: { readonly joinToken: string }, csr: Buffer, peerAddress: string) => Promise<Attested>;

interface SvidIssuerServiceOptions {
  readonly authority: Authority;
  readonly attest: Attestor;
  readonly logger: Logger;
}

/** `SvidIssuer`, for control planes and identity alike: who may ask differs, how it is answered does not. */
export function svidIssuerService({ authority, attest, logger }: SvidIssuerServiceOptions): ServedService {
  const issue = async (id: SpiffeId, csr: Buffer, how: string) => {
    const { publicKey } = verifyCsr(csr);
    const issued = await authority.issue({ id, publicKey });
    logger.info('SVID issued', { id, how, serial: issued.serial, notAfter: new Date(issued.notAfter).toISOString() });
    return { chain: [...issued.chainDer], spiffeId: id };
  };
  return served(SvidIssuer, {
    async join(request, caller) {
      const csr = Buffer.from(request.csr);
      verifyCsr(csr);
      const { spiffeId } = await attest({ joinToken: request.joinToken }, csr, caller.address);
      return issue(spiffeId, csr, 'join');
    },
    renew: (request, caller) => issue(caller.peer!.id, Buffer.from(request.csr), 'renewal'),
  });
}

/** Asks for the first SVID, with a join token. */
export function joinRequester(client: ApiClient, joinToken: () => Promise<string>): SvidRequester {
  return {
    async requestSvid(csr, signal) {
      const { chain } = await client.call(SvidIssuer.method.join, { joinToken: await joinToken(), csr }, signal);
      return { chainDer: chain };
    },
  };
}

/** Asks for the next SVID, by the one in use. */
export function renewalRequester(client: ApiClient): SvidRequester {
  return {
    async requestSvid(csr, signal) {
      const { chain } = await client.call(SvidIssuer.method.renew, { csr }, signal);
      return { chainDer: chain };
    },
  };
}
