import { type ServedService, served } from '#api/api-server.ts';
import { IdentityEdge } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { keyMessage } from './admin-service.ts';
import type { RouterKeys } from './router-keys.ts';
import { type VerifyKeyDependencies, verifyKey } from './verify-key.ts';

interface EdgeServiceOptions extends VerifyKeyDependencies {
  readonly routerKeys: RouterKeys;
}

const textCharactersMax = 512;

/** What routers ask while they serve. */
export function edgeService(options: EdgeServiceOptions): ServedService {
  return served(IdentityEdge, {
    async verifyKey({ accountId, secret, clientAddress }) {
      if (
        secret.length > textCharactersMax ||
        accountId.length > textCharactersMax ||
        clientAddress.length > textCharactersMax
      ) {
        throw new CellmeshError('request_invalid', 'a field is longer than any key');
      }
      const verdict = await verifyKey({ user: accountId, secret: new Secret(secret), clientAddress }, options);
      return typeof verdict === 'string'
        ? { result: { case: 'refusal', value: verdict } }
        : { result: { case: 'key', value: keyMessage(verdict) } };
    },
    registerSigningKey: async ({ jwk }, caller) => options.routerKeys.register(jwk, caller.peer!.id),
  });
}
