import { type ServedService, served } from '#api/api-server.ts';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import type { JoinTokens } from '#certs/join-token.ts';
import { isRouterId } from '#certs/reserved-ids.ts';
import { parseSpiffeId, type TrustDomain } from '#certs/spiffe-id.ts';
import { serializeTrustBundle } from '#certs/trust-bundle.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import type { Secret } from '#runtime/secret.ts';
import { newAccountId, parseAccountId } from '#tokens/account-id.ts';
import { generateApiKey } from '#tokens/api-key.ts';
import { type CellEntry, parseCellEntry } from '#tokens/cell-directory.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import type { ApiKeyStatus } from '#tokens/key-status.ts';
import { parseScope, ScopeSet } from '#tokens/scope.ts';
import type { AccountRecord, ApiKeyRecord, IdentityStore } from './identity-store.ts';
import type { KeyDigests } from './key-digest.ts';

interface AdminServiceOptions {
  readonly store: IdentityStore;
  readonly digests: KeyDigests;
  readonly tagKey: Secret<Buffer>;
  readonly joinTokens: JoinTokens;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly random: Random;
  /** Tells subscribers that this kind of state has changed. */
  readonly changed: (...types: ('accounts' | 'key-status' | 'cells')[]) => void;
}

const nameCharactersMax = 128;
const overlapMsMax = 30 * 24 * 3600_000;
const overlapMsDefault = 24 * 3600_000;

/** What operators ask of the identity service. Every change is durable before it is answered, and on its way to routers. */
export function adminService(options: AdminServiceOptions): ServedService {
  const { store, joinTokens, trustDomain, clock, random, changed } = options;
  return served(IdentityAdmin, {
    async createAccount({ name, cellId }) {
      if (name.length > nameCharactersMax)
        throw new CellmeshError('request_invalid', `a name has at most ${nameCharactersMax} characters`);
      const account: AccountRecord = {
        accountId: newAccountId(random),
        name,
        cellId: parseCellId(cellId),
        cellEpoch: 1,
        generation: 0,
      };
      store.addAccount(account);
      changed('accounts');
      return accountMessage(account);
    },
    listAccounts: async () => ({ accounts: store.accounts().map(accountMessage) }),
    async placeAccount({ accountId, cellId, cellEpoch }) {
      const account = store.placeAccount(parseAccountId(accountId), parseCellId(cellId), Number(cellEpoch));
      changed('accounts');
      return accountMessage(account);
    },
    async createKey({ accountId, scopes }) {
      const { accountId: id } = store.account(parseAccountId(accountId));
      const { key, secret } = await newKey({ accountId: id, scopes: ScopeSet.of(scopes.map(parseScope)) }, options);
      store.addKey(key, clock.now());
      changed('key-status');
      return { key: keyMessage(key), secret: secret.reveal() };
    },
    listKeys: async ({ accountId }) => ({
      keys: store.keysOf(store.account(parseAccountId(accountId)).accountId).map(keyMessage),
    }),
    async revokeKey({ keyId }) {
      const key = store.revokeKey(keyId);
      changed('key-status');
      return keyMessage(key);
    },
    async rotateKey({ keyId, overlapMs }) {
      const overlap = Number(overlapMs) || overlapMsDefault;
      if (overlap > overlapMsMax) throw new CellmeshError('request_invalid', 'keys overlap for 30 days at most');
      const { accountId, scopes, state } = store.key(keyId);
      if (state !== 'active')
        throw new CellmeshError('conflict', `${keyId} is ${state}; only an active key is rotated`);
      const { key, secret } = await newKey({ accountId, scopes }, options);
      store.rotateKey(keyId, key, clock.now() + overlap, clock.now());
      changed('key-status');
      return { key: keyMessage(key), secret: secret.reveal() };
    },
    async registerCell({ cell }) {
      const entry = parseCellEntry({
        cellId: cell?.cellId,
        trustDomain: cell?.trustDomain,
        bundle: cell?.trustBundle,
        host: cell?.controlPlaneHost,
        port: cell?.controlPlanePort,
      });
      store.putCell(entry);
      changed('cells');
      return cellMessage(entry);
    },
    listCells: async () => ({ cells: [...store.cells().values()].map(cellMessage) }),
    async createRouterJoinToken({ spiffeId }) {
      const id = parseSpiffeId(spiffeId);
      if (!isRouterId(trustDomain, id))
        throw new CellmeshError('join_token_refused', `${id} is no router of ${trustDomain}`);
      const { token, expiresAt } = await joinTokens.create({ id, allowReserved: true });
      return { joinToken: token.reveal(), expiresAt: BigInt(expiresAt) };
    },
  });
}

async function newKey(
  rights: Pick<ApiKeyRecord, 'accountId' | 'scopes'>,
  { tagKey, random, digests }: AdminServiceOptions,
): Promise<{ key: ApiKeyRecord; secret: Secret<string> }> {
  const { locator, secret } = generateApiKey(tagKey, random);
  const digest = await digests.digest(secret);
  return {
    key: { keyId: `SK${random.bytes(16).toString('hex')}`, ...rights, locator, digest, state: 'active', version: 1 },
    secret,
  };
}

function accountMessage({ accountId, name, cellId, cellEpoch, generation }: AccountRecord) {
  return { accountId, name, cellId, cellEpoch: BigInt(cellEpoch), generation: BigInt(generation) };
}

export function keyMessage({ keyId, accountId, locator, scopes, state, notAfter, version }: ApiKeyStatus) {
  return {
    keyId,
    accountId,
    locator,
    scopes: [...scopes],
    state,
    notAfter: BigInt(notAfter ?? 0),
    version: BigInt(version),
  };
}

function cellMessage({ cellId, trustDomain, bundle, host, port }: CellEntry) {
  return {
    cellId,
    trustDomain,
    trustBundle: serializeTrustBundle(bundle),
    controlPlaneHost: host,
    controlPlanePort: port,
  };
}
