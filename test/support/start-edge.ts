import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { routerId } from '#certs/reserved-ids.ts';
import { openWebCertificate } from '#certs/web-certificate.ts';
import { readDecisionRing } from '#feeds/decision-ring.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { routerSettings } from '#router/settings.ts';
import { startRouter } from '#router/start-router.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import type { HttpResponse } from './application.ts';
import { eventually } from './eventually.ts';
import { globalTrustDomain, type IdentitySetting, tokenIssuer } from './identity-setting.ts';
import type { Cell } from './start-cell.ts';
import { temporaryDirectory } from './temporary-directory.ts';

type RunningRouter = Awaited<ReturnType<typeof startRouter>>;

export interface Customer {
  readonly accountId: string;
  readonly keyId: string;
  readonly secret: string;
}

export interface EdgeCall {
  readonly user?: string;
  readonly secret?: string;
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** A router in front of a cell, and what a customer can do. */
export interface Edge extends AsyncDisposable {
  readonly router: RunningRouter;
  /** PEM of the authority behind the router's web certificate. */
  readonly ca: string;
  call(call: EdgeCall): Promise<HttpResponse>;
  /** An account in the cell with one key, as soon as the router knows of it. */
  customer(scopes: readonly string[]): Promise<Customer>;
  /** A customer whose key the router has been told of, and has not seen in use. */
  unusedKey(scopes: readonly string[]): Promise<Customer>;
  /** What the router wrote down; waits for it. */
  decision(id: string): Promise<DecisionRecord>;
  stop(): Promise<void>;
  /** On the port and the state that it had before. */
  start(): Promise<void>;
}

export async function startEdge(
  cell: Pick<Cell, 'identity' | 'globalBundleFile'>,
  more: Readonly<Record<string, string>> = {},
): Promise<Edge> {
  await using starting = new AsyncDisposableStack();
  const root = starting.use(await temporaryDirectory()).path;
  const { identity } = cell;
  const web = await openWebCertificate({
    directory: join(root, 'web'),
    names: ['localhost', 'api.cellmesh.localhost'],
    addresses: ['127.0.0.1'],
    clock: systemClock,
    random: systemRandom,
  });
  const ca = await readFile(web.authorityFile, 'utf8');
  const stateDir = join(root, 'router');
  await mkdir(stateDir, { mode: 0o700 });
  const id = routerId(globalTrustDomain, 'local', 'router-9');
  const { token } = await identity.identity.joinTokens.create({ id, allowReserved: true });
  await writeFile(join(root, 'join-token'), token.reveal(), { mode: 0o600 });
  let listen = '127.0.0.1:0';
  let router: RunningRouter | undefined;
  const stop = async () => {
    const stopped = router;
    router = undefined;
    await stopped?.[Symbol.asyncDispose]();
  };
  const start = async () => {
    const flags = {
      instance: 'router-9',
      globalTrustDomain,
      globalBundle: cell.globalBundleFile,
      identity: `127.0.0.1:${identity.identity.address.port}`,
      tokenIssuer,
      joinToken: join(root, 'join-token'),
      stateDir,
      listen,
      certificate: web.certificateFile,
      certificateKey: web.keyFile,
      health: '127.0.0.1:0',
      drain: '500ms',
      ...more,
    };
    const config = loadConfig(routerSettings, { environment: {}, flags });
    router = await startRouter(config, { clock: systemClock, random: systemRandom, logger: silentLogger });
    listen = `127.0.0.1:${router.address.port}`;
  };
  const call = (call: EdgeCall) => callHttps({ ...call, port: router!.address.port, ca });
  const decision = (id: string) =>
    eventually(async () => {
      const records = (await readDecisionRing(join(stateDir, 'decisions'))) as DecisionRecord[];
      const found = records.find((record) => record.id === id);
      if (found === undefined) throw new Error(`no decision ${id}`);
      return found;
    });
  await start();
  starting.defer(stop);
  await eventually(() => {
    const reasons = router!.notReady();
    if (reasons.length > 0) throw new Error(reasons.join('; '));
  }, 20_000);
  const owned = starting.move();
  return {
    get router() {
      return router!;
    },
    ca,
    call,
    customer: async (scopes) => {
      const customer = await makeCustomer(identity, scopes);
      await eventually(async () => {
        const { status, body } = await call({ user: customer.accountId, secret: customer.secret, path: '/nowhere' });
        if (status !== 404) throw new Error(body);
      });
      return customer;
    },
    unusedKey: async (scopes) => {
      const customer = await makeCustomer(identity, scopes);
      // A wrong secret of a known key is a mismatch; until the router knows the key it is unknown.
      await eventually(async () => {
        const { headers } = await call({ user: `AC${'0'.repeat(32)}`, secret: customer.secret, path: '/nowhere' });
        const record = await decision(String(headers['cellmesh-decision']));
        if (record.failed?.actual !== 'key_mismatch') throw new Error('the router does not know the key yet');
      });
      return customer;
    },
    decision,
    stop,
    start,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function makeCustomer({ admin }: IdentitySetting, scopes: readonly string[]): Promise<Customer> {
  const { accountId } = await admin.call(IdentityAdmin.method.createAccount, { name: '', cellId: 'cell-1' });
  const { key, secret } = await admin.call(IdentityAdmin.method.createKey, { accountId, scopes: [...scopes] });
  return { accountId, keyId: key!.keyId, secret };
}

function callHttps({ port, ca, ...call }: EdgeCall & { port: number; ca: string }): Promise<HttpResponse> {
  const { user, secret = '', method = 'GET', path = '/v1/local', host = 'api.cellmesh.localhost', body } = call;
  const authorization =
    user === undefined ? {} : { authorization: `Basic ${Buffer.from(`${user}:${secret}`).toString('base64')}` };
  return new Promise((resolve, reject) => {
    const headers = { host, ...authorization, ...call.headers };
    const asked = request({
      host: '127.0.0.1',
      servername: 'localhost',
      port,
      ca,
      method,
      path,
      headers,
      agent: false,
    });
    asked.once('response', async (response) => {
      const { statusCode: status = 0, headers, rawHeaders } = response;
      const bytes = Buffer.concat(await response.toArray());
      resolve({ status, headers, rawHeaders, body: bytes.toString() });
    });
    asked.once('error', reject);
    asked.end(body);
  });
}
