import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { refuseTwoKindsOfEvidence } from '#api/evidence.ts';
import { createPrivateFile, exists, readPrivateFile } from '#certs/private-file.ts';
import { routerId } from '#certs/reserved-ids.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { bundlesOf, newerBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { DecisionRing } from '#feeds/decision-ring.ts';
import { decisionSinks } from '#feeds/decision-sinks.ts';
import { observeReports } from '#feeds/observe-decisions.ts';
import { OwnIdentity, type OwnIdentityOptions } from '#net/own-identity.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import { startHealthServer } from '#runtime/health-server.ts';
import type { Logger } from '#runtime/logger.ts';
import { Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import { generateSigningKey, type SigningKey, signingKeyFromPem, signingKeyToPem } from '#tokens/signing-key.ts';
import { RateLimiter } from '#traffic/gcra.ts';
import { wireLimitsOf } from '#wire/limit-settings.ts';
import { Authenticator } from './authenticate.ts';
import { CellTokens } from './cell-tokens.ts';
import { Cells } from './cells.ts';
import { Edge } from './edge.ts';
import { EdgeDecisions } from './edge-decisions.ts';
import { type EdgeListener, listenEdge } from './edge-listener.ts';
import { IdentityLink, joining, readGlobalBundle } from './identity-link.ts';
import { named, type RouterConfig, type RouterSettings } from './settings.ts';
import { WarmKeys } from './warm-keys.ts';

interface RouterSurroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Where the access log goes when it is on. */
  readonly accessLog?: Writable;
}

/** A running router. Disposing it drains and stops. */
interface RunningRouter extends AsyncDisposable {
  readonly id: SpiffeId;
  readonly address: { readonly host: string; readonly port: number };
  readonly healthPort: number;
  /** Reasons why it must not get traffic; empty when it may. */
  notReady(): readonly string[];
}

/** The file that a router's signing key lies in. */
const signingKeyFile = 'signing.pem';
const registerAgainMs = 5_000;

/**
 * Starts a cell router. Resolves when its ports are open; `notReady` says what is missing until identity and a cell have been heard.
 * @throws CellmeshError with what is missing or taken
 */
export async function startRouter(settings: RouterSettings, surroundings: RouterSurroundings): Promise<RunningRouter> {
  const { clock, random } = surroundings;
  const config = named(settings);
  refuseTwoKindsOfEvidence(config);
  const id = routerId(config.globalTrustDomain, config.region, config.instance);
  const logger = surroundings.logger.with({ instance: config.instance });
  const limits = wireLimitsOf(config);
  const common = { clock, random, logger };
  const options = { config, ...common };
  await using starting = new AsyncDisposableStack();
  const abort = new AbortController();
  starting.defer(() => abort.abort(new Error('the router stops')));
  await mkdir(config.stateDir, { recursive: true, mode: 0o700 });

  const globalBundle = await readGlobalBundle(config);
  const identity = await ownIdentity(id, globalBundle, options, abort.signal);
  const ring = starting.use(await DecisionRing.open({ directory: join(config.stateDir, 'decisions'), clock, logger }));
  const link = starting.use(new IdentityLink({ ...options, ring }, identity, knownBundle(identity, globalBundle)));
  const cells = starting.use(new Cells({ ...config, identity: identity.tls, limits, ...common }));
  starting.defer(trustWhomIdentityNames(link, identity));
  starting.defer(link.cells.subscribe((directory) => cells.follow(directory)));
  const key = await openSigningKey(config);
  const registration = register(link, key, options, abort.signal);
  const renewing = identity.renew({ requester: link.renewal, signal: abort.signal, intervalMs: config.svidRenewal });
  starting.defer(async () => {
    abort.abort(new Error('the router stops'));
    await Promise.all([registration.done, renewing, identity.settled()]);
  });
  await link.feed.start();

  const metrics = new Metrics();
  const warmKeys = starting.use(await WarmKeys.open({ directory: config.stateDir, clock, random, logger }));
  const onInternalError = (error: unknown) =>
    logger.error('a request met an error in the router itself', { reason: messageOf(error), error });
  const edge = new Edge({
    authenticator: new Authenticator({
      status: () => link.keyStatus.current,
      statusAgeMs: () => link.feed.ageMs,
      matches: warmKeys.cache,
      verifyCold: link.verifyCold,
      coldLimiter: new RateLimiter(clock),
      clock,
    }),
    accounts: () => link.accounts.current,
    random,
    cells,
    tokens: new CellTokens({ key, routerId: id, clock, random }),
    decisions: new EdgeDecisions({
      instance: config.instance,
      clock,
      random,
      metrics,
      sinks: decisionSinks({
        ...config,
        ...common,
        ring,
        stdout: surroundings.accessLog,
        report: (line, kind) => link.reporter.report(line, kind),
      }),
    }),
    clock,
    onInternalError,
  });
  const listener: EdgeListener = await listenEdge(edge.handle, {
    ...config,
    limits,
    clock,
    onRefused: (error) => edge.refused(error),
    onHandlerError: onInternalError,
  });
  let isDraining = false;
  const notReady = () => [
    ...(isDraining ? ['draining'] : []),
    ...(link.keyStatus.current === undefined || link.accounts.current === undefined
      ? ['identity: accounts and keys have not been told yet']
      : []),
    ...(registration.isDone() ? [] : ['signing key: not registered with identity yet']),
    ...(cells.all().some(({ routes }) => routes !== undefined) ? [] : ['cells: none has told its routes yet']),
  ];
  const health = starting.use(await startHealthServer({ ...config.health, notReady, metrics }));
  observe(metrics, listener, warmKeys, link);
  starting.defer(async () => {
    isDraining = true;
    await listener.close(config.drain);
  });
  logger.info('router serves', { ...listener.address, spiffeId: id });
  const owned = starting.move();
  return {
    id,
    address: listener.address,
    healthPort: health.port,
    notReady,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function ownIdentity(
  id: SpiffeId,
  globalBundle: TrustBundle,
  { config, ...options }: { config: RouterConfig } & RouterSurroundings,
  signal: AbortSignal,
): Promise<OwnIdentity> {
  const identityOptions: OwnIdentityOptions = {
    ...options,
    directory: join(config.stateDir, 'svid'),
    expect: id,
    startBundles: bundlesOf(globalBundle),
  };
  const known = await OwnIdentity.fromDisk(identityOptions);
  if (known !== undefined) return known;
  using join_ = joining(config, globalBundle, options.clock);
  const onFailed = (error: unknown) => options.logger.warn('not joined yet', { reason: messageOf(error) });
  return await OwnIdentity.join(identityOptions, { requester: join_.requester, signal, onFailed });
}

/** What lies beside the SVID may be newer than the file that the router was first started with. */
function knownBundle(identity: OwnIdentity, globalBundle: TrustBundle): TrustBundle {
  return newerBundle(globalBundle, identity.tls.current.bundles.get(globalBundle.trustDomain));
}

/** The roots of the global trust domain, and of all cells. */
function trustWhomIdentityNames({ globalBundle, cells }: IdentityLink, identity: OwnIdentity): () => void {
  const trust = () => {
    const ofCells = [...cells.current.values()].map(({ bundle }) => bundle);
    identity.setBundles(bundlesOf(globalBundle.current, ...ofCells));
  };
  const unsubscribes = [globalBundle.subscribe(trust), cells.subscribe(trust)];
  return () => unsubscribes.forEach((unsubscribe) => void unsubscribe());
}

/** Made at the first start. Its `iss` is looked up when it is registered: a key file says nothing about it. */
async function openSigningKey({ stateDir, tokenIssuer }: RouterConfig): Promise<SigningKey> {
  const path = join(stateDir, signingKeyFile);
  const role = { iss: tokenIssuer, kind: 'cell' } as const;
  if (!(await exists(path))) await createPrivateFile(path, signingKeyToPem(generateSigningKey(role)));
  return signingKeyFromPem(await readPrivateFile(path), role);
}

/** Registers the signing key, and tries until it is. A router that was registered once goes on with identity away. */
function register(
  link: IdentityLink,
  key: SigningKey,
  { clock, logger }: RouterSurroundings,
  signal: AbortSignal,
): { readonly done: Promise<void>; isDone(): boolean } {
  let isDone = false;
  const run = async () => {
    while (!signal.aborted) {
      try {
        await link.registerSigningKey(key);
        isDone = true;
        return;
      } catch (error) {
        logger.warn('the signing key is not registered yet', { reason: messageOf(error) });
        await sleep(clock, registerAgainMs, signal).catch(() => {});
      }
    }
  };
  return { done: run(), isDone: () => isDone };
}

function observe(metrics: Metrics, listener: EdgeListener, warmKeys: WarmKeys, link: IdentityLink): void {
  observeReports(metrics, () => link.reporter);
  metrics.observed('cellmesh_edge_connections', 'Open connections of customers.', () => listener.connections);
  metrics.observed('cellmesh_warm_keys', 'Keys that are checked without asking identity.', () => warmKeys.cache.size);
  metrics.observed(
    'cellmesh_identity_feed_age_seconds',
    'Since identity last stood by what is held.',
    () => link.feed.ageMs / 1000,
  );
}
