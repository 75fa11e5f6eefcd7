import type { DatabaseSync } from 'node:sqlite';
import { ApiClient } from '#api/api-client.ts';
import { type ApiServer, startApiServer } from '#api/api-server.ts';
import { adminId, controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { accountKeyMigration } from '#feeds/account-pseudonyms.ts';
import { decisionStoreSettings } from '#feeds/decision-settings.ts';
import { type DecisionStore, decisionMigration } from '#feeds/decision-store.ts';
import { StoredDecisions } from '#feeds/stored-decisions.ts';
import { readStoredDecision } from '#policy/decision-record.ts';
import { type Clock, systemClock as clock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { WatchSource } from '#runtime/watch.ts';
import { testAuthority } from './test-authority.ts';

const own = parseTrustDomain('cell-1.example.com');
const global = parseTrustDomain('example.com');

interface DecisionLogServerOptions {
  readonly file?: string;
  readonly flags?: Readonly<Record<string, string>>;
  /** Of what is kept, not of connections. */
  readonly storeClock?: Clock;
}

/** The real service over mutual TLS, with a store in `file`, that can go away and come back. */
export interface DecisionLogServer extends AsyncDisposable {
  readonly store: DecisionStore;
  readonly database: DatabaseSync;
  /** Presents the SVID of a workload, or of an administrator; the test disposes it. */
  client(caller: 'workload' | 'admin'): ApiClient;
  stop(): Promise<void>;
  /** On the port that it had before. */
  start(): Promise<void>;
}

export async function startDecisionLogServer({
  file = ':memory:',
  flags = {},
  storeClock = clock,
}: DecisionLogServerOptions = {}): Promise<DecisionLogServer> {
  const authority = await testAuthority(clock, own);
  const database = openDatabase({ file, application: 'test', migrations: [decisionMigration, accountKeyMigration] });
  const options = {
    ...loadConfig(decisionStoreSettings, { environment: {}, flags: { decisionsSizeMax: '1000000000000', ...flags } }),
    ...{ clock: storeClock, random: systemRandom, logger: silentLogger },
  };
  const decisions = new StoredDecisions(database, options, readStoredDecision);
  const { store } = decisions;
  const identityOf = (svid: Svid) => new WatchSource({ svid, bundles: authority.bundles });
  const identity = identityOf(await authority.issue(controlPlaneId(own)));
  const callers = {
    workload: identityOf(await authority.issue(workloadId(own, 'shop', 'web'))),
    admin: identityOf(await authority.issue(adminId(own, 'local'))),
  };
  let server: ApiServer | undefined;
  let port = 0;
  const start = async () => {
    server = await startApiServer({
      host: '127.0.0.1',
      port,
      identity,
      domains: { own, global },
      services: [decisions.service],
      rateLimiter: { take: () => 0 },
      clock,
      logger: silentLogger,
      onRefused: () => {},
    });
    port = server.address.port;
  };
  const stop = async () => {
    await server?.[Symbol.asyncDispose]();
    server = undefined;
  };
  await start();
  return {
    store,
    database,
    client: (caller) =>
      new ApiClient({ host: '127.0.0.1', port, expect: controlPlaneId(own), identity: callers[caller], clock }),
    start,
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
      decisions[Symbol.dispose]();
      database.close();
    },
  };
}
