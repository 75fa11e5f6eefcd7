import { join } from 'node:path';
import { ApiClient } from '#api/api-client.ts';
import { joinRequester } from '#api/svid-issuer-service.ts';
import { obtainSvid } from '#certs/renew-svid.ts';
import { identityId, routerId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { readSvid, type Svid } from '#certs/svid.ts';
import type { TrustBundles } from '#certs/trust-bundle.ts';
import { type IdentityConfig, identitySettings } from '#identity/settings.ts';
import { type RunningIdentity, startIdentity } from '#identity/start-identity.ts';
import { type Clock, systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { WatchSource } from '#runtime/watch.ts';

export const globalTrustDomain = parseTrustDomain('cellmesh.localhost');
export const tokenIssuer = 'https://identity.cellmesh.localhost';

export interface IdentitySetting extends AsyncDisposable {
  readonly identity: RunningIdentity;
  readonly bundles: TrustBundles;
  readonly admin: ApiClient;
  /** As `admin`, with what lies in the state directory by now. */
  adminOfNow(): Promise<ApiClient>;
  routerSvid(instance: string): Promise<Svid>;
  client(svid: Svid): ApiClient;
}

/** The global identity service in this process, on free ports, and its first administrator. */
export async function startIdentitySetting(
  stateDir: string,
  clock: Clock = systemClock,
  port = 0,
  more: Readonly<Record<string, string>> = {},
): Promise<IdentitySetting> {
  const flags = {
    stateDir,
    trustDomain: globalTrustDomain,
    tokenIssuer,
    listen: `127.0.0.1:${port}`,
    health: '127.0.0.1:0',
    ...more,
  };
  const config: IdentityConfig = loadConfig(identitySettings, { environment: {}, flags });
  const identity = await startIdentity(config, { clock, random: systemRandom, logger: silentLogger });
  const readAdmin = () => readSvid(join(stateDir, 'admin'), clock.now());
  const { svid, bundles } = await readAdmin();
  const clients: ApiClient[] = [];
  const client = (presented?: Svid, trusted: TrustBundles = bundles) => {
    const source = new WatchSource({ ...(presented && { svid: presented }), bundles: trusted });
    const made = new ApiClient({
      ...identity.address,
      expect: identityId(globalTrustDomain, 'local'),
      identity: source,
      clock,
    });
    clients.push(made);
    return made;
  };
  return {
    identity,
    bundles,
    admin: client(svid),
    async adminOfNow() {
      const now = await readAdmin();
      return client(now.svid, now.bundles);
    },
    client,
    async routerSvid(instance) {
      const id = routerId(globalTrustDomain, 'local', instance);
      const { token } = await identity.joinTokens.create({ id, allowReserved: true });
      const signal = new AbortController().signal;
      return obtainSvid({
        requester: joinRequester(client(), async () => ({ case: 'joinToken', value: token.reveal() })),
        bundles: () => bundles,
        clock,
        signal,
        expect: id,
      });
    },
    async [Symbol.asyncDispose]() {
      for (const made of clients) made[Symbol.dispose]();
      await identity[Symbol.asyncDispose]();
    },
  };
}
