import { join } from 'node:path';
import { ApiClient } from '#api/api-client.ts';
import { evidenceOf, lastingEvidenceOf } from '#api/evidence.ts';
import { Feed } from '#api/generated/cellmesh/feeds/v1/feed_pb.ts';
import { IdentityEdge } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { joinRequester, renewalRequester } from '#api/svid-issuer-service.ts';
import { readTextFile } from '#certs/private-file.ts';
import type { SvidRequester } from '#certs/renew-svid.ts';
import { identityId } from '#certs/reserved-ids.ts';
import { bundlesOf, newerBundle, parseTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { parseTrustBundles } from '#certs/trust-bundle-map.ts';
import { DecisionReporter } from '#feeds/decision-reporter.ts';
import type { DecisionRing } from '#feeds/decision-ring.ts';
import { FeedClient } from '#feeds/feed-client.ts';
import { LastGoodStore } from '#feeds/last-good.ts';
import type { OwnIdentity } from '#net/own-identity.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { isFailedRecord } from '#policy/failed-record.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import { type AccountMap, parseAccountMap } from '#tokens/account-map.ts';
import { type CellDirectory, parseCellDirectory } from '#tokens/cell-directory.ts';
import { type KeyStatusDocument, parseKeyStatus } from '#tokens/key-status.ts';
import type { SigningKey } from '#tokens/signing-key.ts';
import type { KeyRefusal } from './authenticate.ts';
import type { RouterConfig } from './settings.ts';

interface IdentityLinkOptions {
  readonly ring: DecisionRing;
  readonly config: RouterConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Everything that a router asks and hears of the identity service. */
export class IdentityLink implements AsyncDisposable {
  readonly accounts = new WatchSource<AccountMap | undefined>(undefined);
  readonly keyStatus = new WatchSource<KeyStatusDocument | undefined>(undefined);
  readonly cells = new WatchSource<CellDirectory>(new Map());
  /** Of the global trust domain. */
  readonly globalBundle: WatchSource<TrustBundle>;
  readonly feed: FeedClient;
  readonly reporter: DecisionReporter;
  readonly renewal: SvidRequester;
  readonly #client: ApiClient;

  /** @param globalBundle what is known of the global trust domain before identity speaks */
  constructor(options: IdentityLinkOptions, identity: OwnIdentity, globalBundle: TrustBundle) {
    const { config, clock } = options;
    this.globalBundle = new WatchSource(globalBundle);
    this.#client = apiClient(config, identity.tls, clock);
    this.renewal = renewalRequester(this.#client, () => lastingEvidenceOf(config));
    this.reporter = new DecisionReporter({ ...options, client: this.#client, isFailure: isFailedRecord });
    this.feed = new FeedClient({
      ...options,
      open: () => this.#client.open(Feed.method.subscribe),
      publisher: 'identity',
      instance: config.instance,
      features: [],
      apply: {
        bundles: (document) => this.#applyBundle(parseTrustBundles(document).get(config.globalTrustDomain)),
        accounts: (document) => this.accounts.set(parseAccountMap(document)),
        'key-status': (document) => this.keyStatus.set(parseKeyStatus(document)),
        cells: (document) => this.cells.set(parseCellDirectory(document)),
      },
      lastGood: new LastGoodStore(join(config.stateDir, 'last-good', 'identity')),
    });
  }

  /** The cold path: does this secret belong to this key? */
  readonly verifyCold = async (
    user: string,
    secret: { reveal(): string },
    clientAddress: string,
  ): Promise<'match' | KeyRefusal> => {
    const { result } = await this.#client.call(IdentityEdge.method.verifyKey, {
      accountId: user,
      secret: secret.reveal(),
      clientAddress,
    });
    return result.case === 'key' ? 'match' : ((result.value ?? 'key_unknown') as KeyRefusal);
  };

  /** Publishes the key that this router signs cell tokens with. @throws CellmeshError `rpc_unavailable` (retryable) */
  async registerSigningKey({ published }: SigningKey): Promise<void> {
    const { jwk, kid, iss } = published;
    const registered = await this.#client.call(IdentityEdge.method.registerSigningKey, {
      jwk: JSON.stringify({ ...jwk, kid }),
    });
    if (registered.iss !== iss)
      throw new CellmeshError(
        'config_invalid',
        `identity issues as ${registered.iss}, the signing key was made for ${iss}`,
      );
  }

  /** It never goes back. */
  #applyBundle(told: TrustBundle | undefined): void {
    const newest = newerBundle(this.globalBundle.current, told);
    if (newest !== this.globalBundle.current) this.globalBundle.set(newest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.feed[Symbol.asyncDispose]();
    await this.reporter[Symbol.asyncDispose]();
    this.#client[Symbol.dispose]();
  }
}

/** For the first SVID, knowing nobody but the global bundle. */
export function joining(
  config: RouterConfig,
  globalBundle: TrustBundle,
  clock: Clock,
): { readonly requester: SvidRequester } & Disposable {
  const client = apiClient(config, new WatchSource({ bundles: bundlesOf(globalBundle) }), clock);
  return {
    requester: joinRequester(client, () => evidenceOf(config)),
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

export async function readGlobalBundle({ globalBundle, globalTrustDomain }: RouterConfig): Promise<TrustBundle> {
  return parseTrustBundle(await readTextFile(globalBundle), globalTrustDomain);
}

function apiClient(
  config: RouterConfig,
  identity: ConstructorParameters<typeof ApiClient>[0]['identity'] | Watch<TlsIdentity>,
  clock: Clock,
): ApiClient {
  return new ApiClient({
    ...config.identity,
    expect: identityId(config.globalTrustDomain, config.identityRegion),
    identity,
    clock,
  });
}
