import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { ApiClient } from '#api/api-client.ts';
import { IdentityAdmin, IdentityEdge } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { readSvid, type Svid } from '#certs/svid.ts';
import type { TrustBundles } from '#certs/trust-bundle.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { type RunningControlPlane, startControlPlane } from '#control-plane/start-control-plane.ts';
import { dialMtls } from '#net/dial.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { type DecisionRecord, parseDecisionRecord } from '#policy/decision-record.ts';
import { type Clock, systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { type Logger, silentLogger } from '#runtime/logger.ts';
import { type Random, systemRandom } from '#runtime/random.ts';
import { WatchSource } from '#runtime/watch.ts';
import { sidecarSettings } from '#sidecar/sidecar-config.ts';
import { type Sidecar, startSidecar } from '#sidecar/start-sidecar.ts';
import { generateSigningKey, type SigningKey } from '#tokens/signing-key.ts';
import {
  type Application,
  callHttp,
  type Handler,
  type HttpCall,
  type HttpResponse,
  startApplication,
} from './application.ts';
import { eventually } from './eventually.ts';
import { globalTrustDomain, type IdentitySetting, startIdentitySetting, tokenIssuer } from './identity-setting.ts';
import { MeshClient } from './mesh-client.ts';
import {
  cellDocument,
  chainHandler,
  manifests,
  type Ports,
  type ServiceName,
  serviceNames,
} from './messaging-application.ts';
import { mintTestToken, type TokenChange } from './mint-test-token.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const clock = systemClock;
const trustDomain = parseTrustDomain('cell-1.cellmesh.localhost');
/** Jitter is for fleets; a test of three sidecars comes back soon. */
const random: Random = { bytes: systemRandom.bytes, fraction: () => systemRandom.fraction() * 0.05 };

export interface CellService {
  readonly id: SpiffeId;
  readonly application: Application;
  readonly stateDir: string;
  /** The running one; another after a restart. */
  readonly sidecar: Sidecar;
  /** A call of the application through its sidecar. */
  call(call: HttpCall): Promise<HttpResponse>;
  stopSidecar(): Promise<void>;
  /** On the ports that it had before. */
  startSidecar(flags?: Readonly<Record<string, string>>): Promise<void>;
}

export interface Cell extends AsyncDisposable {
  readonly identity: IdentitySetting;
  readonly services: Readonly<Record<ServiceName, CellService>>;
  readonly controlPlane: RunningControlPlane;
  /** Holds the cell document and the manifests. */
  readonly manifestsDir: string;
  mint(change?: TokenChange): Promise<string>;
  /** One more key of the router, known to identity. */
  addSigningKey(): Promise<SigningKey>;
  /** The trust bundle of the global domain, as the control plane reads it when it starts. */
  readonly globalBundleFile: string;
  callAs(svid: Svid, service: ServiceName, call: HttpCall): Promise<HttpResponse>;
  callAsRouter(call: HttpCall & { token?: string }): Promise<HttpResponse>;
  /** Connections to a sidecar that stay open from call to call, presenting the router's SVID. */
  routerClient(service: ServiceName): Promise<MeshClient>;
  /** One connection to a sidecar, presenting the router's SVID; the test ends it. */
  dialAsRouter(service: ServiceName): Promise<Duplex>;
  /** The SVID of a service, from its state directory. */
  svidOf(service: ServiceName): Promise<Svid>;
  /** A client of the control plane, by default its administrator's; the test disposes it. */
  client(svid?: Svid): Promise<ApiClient>;
  /** What the control plane was told; waits for it. */
  findDecision(id: string): Promise<DecisionRecord>;
  /** One more sidecar of a service, before the same application; disposing it stops it. */
  addInstance(service: ServiceName, flags?: Readonly<Record<string, string>>): Promise<Sidecar>;
  stopControlPlane(): Promise<void>;
  startControlPlane(): Promise<void>;
  whenReady(): Promise<void>;
}

export interface CellOptions {
  readonly handlers?: Partial<Record<ServiceName, Handler>>;
  readonly editManifests?: (text: string) => string;
  readonly identityFlags?: Readonly<Record<string, string>>;
  readonly controlPlaneFlags?: Readonly<Record<string, string | undefined>>;
  readonly sidecarFlags?: Readonly<Record<string, string>>;
  /** Default: one that makes pauses short, and balancers choose the first of several instances. */
  readonly random?: Random;
  /** Of the control plane alone: its machine's may be wrong. */
  readonly controlPlaneClock?: Clock;
  readonly logger?: Logger;
  /** Puts cell document and manifests into a cluster, in place of a directory; `controlPlaneFlags` say which. */
  readonly applyManifests?: (texts: readonly string[]) => Promise<void>;
  /** Services whose sidecars the test starts by itself. */
  readonly withoutSidecars?: readonly ServiceName[];
}

/**
 * A whole cell in this process, on free ports: identity, control plane, three sidecars with their applications, and the identity of a router.
 */
export async function startCell(options: CellOptions = {}): Promise<Cell> {
  const stack = new AsyncDisposableStack();
  try {
    return await startIn(stack, options);
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function startIn(stack: AsyncDisposableStack, options: CellOptions): Promise<Cell> {
  const { logger = silentLogger } = options;
  const root = stack.use(await temporaryDirectory()).path;
  const surroundings = { clock, random: options.random ?? random, logger };
  const identity = stack.use(await startIdentitySetting(join(root, 'identity'), clock, 0, options.identityFlags));

  const services = {} as Record<ServiceName, CellService>;
  const applications = {} as Record<ServiceName, Application>;
  for (const name of serviceNames) {
    const handler = options.handlers?.[name] ?? chainHandler(name, () => services[name].sidecar.ports.outbound!);
    applications[name] = stack.use(await startApplication(handler));
  }
  const ports = Object.fromEntries(serviceNames.map((name) => [name, applications[name].port])) as Ports;
  const manifestsDir = join(root, 'manifests');
  await mkdir(manifestsDir);
  await writeFile(join(manifestsDir, 'cell.yaml'), cellDocument);
  await writeFile(join(manifestsDir, 'services.yaml'), (options.editManifests ?? ((text) => text))(manifests(ports)));

  const editedManifests = (options.editManifests ?? ((text) => text))(manifests(ports));
  await options.applyManifests?.([cellDocument, ...editedManifests.split('\n---\n')]);
  let controlPlane: RunningControlPlane | undefined;
  let controlPlanePort = 0;
  let instances = 2;
  const stateDir = join(root, 'control-plane');
  const startTheControlPlane = async () => {
    const flags = {
      stateDir,
      manifestsDir: options.applyManifests === undefined ? manifestsDir : undefined,
      listen: `127.0.0.1:${controlPlanePort}`,
      health: '127.0.0.1:0',
      settle: '50ms',
      globalTrustDomain,
      globalBundle: join(root, 'identity', 'trust-bundle.json'),
      identity: `127.0.0.1:${identity.identity.address.port}`,
      ...options.controlPlaneFlags,
    };
    controlPlane = await startControlPlane(loadConfig(controlPlaneSettings, { environment: {}, flags }), {
      ...surroundings,
      clock: options.controlPlaneClock ?? clock,
    });
    controlPlanePort = controlPlane.address.port;
  };
  const stopTheControlPlane = async () => {
    const stopped = controlPlane;
    controlPlane = undefined;
    await stopped?.[Symbol.asyncDispose]();
  };
  await startTheControlPlane();
  stack.defer(stopTheControlPlane);
  await identity.admin.call(IdentityAdmin.method.registerCell, {
    cell: {
      cellId: 'cell-1',
      trustDomain,
      trustBundle: await readFile(join(stateDir, 'trust-bundle.json'), 'utf8'),
      controlPlaneHost: '127.0.0.1',
      controlPlanePort,
    },
  });
  const routerSvid = await identity.routerSvid('router-1');
  const signingKey = await registerKey(identity.client(routerSvid), routerSvid.id);
  await eventually(() => {
    const waiting = controlPlane?.notReady() ?? [];
    if (waiting.length > 0) throw new Error(waiting.join());
  });

  const starters = {} as Record<ServiceName, (flags: Record<string, string>) => Promise<Sidecar>>;
  for (const name of serviceNames) {
    const id = workloadId(trustDomain, 'messaging', name);
    const serviceDir = join(root, name);
    await mkdir(serviceDir, { mode: 0o700 });
    const { token } = await controlPlane!.joinTokens.create({ id });
    await writeFile(join(root, `${name}.join-token`), `${token.reveal()}\n`, { mode: 0o600 });
    const start = (flags: Record<string, string>) => {
      const all = {
        namespace: 'messaging',
        serviceAccount: name,
        cellId: 'cell-1',
        trustDomain,
        globalTrustDomain,
        controlPlane: `127.0.0.1:${controlPlanePort}`,
        trustBundle: join(stateDir, 'trust-bundle.json'),
        podAddresses: '127.0.0.2',
        settle: '50ms',
        drain: '500ms',
        ...flags,
      };
      return startSidecar(loadConfig(sidecarSettings, { environment: {}, flags: all }), surroundings);
    };
    starters[name] = start;
    const fixed: Record<string, string> = { inbound: '127.0.0.1:0', outbound: '127.0.0.1:0', health: '127.0.0.1:0' };
    let sidecar: Sidecar | undefined;
    const service: CellService = {
      id,
      application: applications[name],
      stateDir: serviceDir,
      get sidecar() {
        if (sidecar === undefined) throw new Error(`the sidecar of ${name} is not running`);
        return sidecar;
      },
      call: (call) => callHttp({ port: service.sidecar.ports.outbound!, ...call }),
      async stopSidecar() {
        const stopped = sidecar;
        if (stopped === undefined) return;
        for (const [port, number] of Object.entries(stopped.ports)) fixed[port] = `127.0.0.1:${number ?? 0}`;
        // Until it has ended its application goes on calling through it.
        await stopped[Symbol.asyncDispose]();
        sidecar = undefined;
      },
      async startSidecar(more = {}) {
        sidecar = await start({
          ...(more['attestTokenFile'] === undefined && { joinToken: join(root, `${name}.join-token`) }),
          stateDir: serviceDir,
          ...fixed,
          ...options.sidecarFlags,
          ...more,
        });
      },
    };
    services[name] = service;
    stack.defer(() => service.stopSidecar());
    if (!options.withoutSidecars?.includes(name)) await service.startSidecar();
  }

  const trusted = async (): Promise<TrustBundles> => (await readSvid(join(stateDir, 'admin'), clock.now())).bundles;
  const callAs = async (svid: Svid, service: ServiceName, call: HttpCall) => {
    const identity = new WatchSource<TlsIdentity>({ svid, bundles: await trusted() });
    const { id, sidecar } = services[service];
    const port = sidecar.ports.inbound!;
    const { socket } = await dialMtls({ host: '127.0.0.1', port, identity, expect: id, alpn: ['http/1.1'], clock });
    try {
      return await callHttp({ authority: `${service}:${applications[service].port}`, ...call, socket });
    } finally {
      socket.destroy();
    }
  };
  const cell: Cell = {
    identity,
    services,
    get controlPlane() {
      return controlPlane!;
    },
    manifestsDir,
    mint: (change = {}) => mintTestToken(signingKey, change),
    addSigningKey: () => registerKey(identity.client(routerSvid), routerSvid.id),
    globalBundleFile: join(root, 'identity', 'trust-bundle.json'),
    callAs,
    callAsRouter: ({ token, ...call }) => {
      const headers = { ...(token !== undefined && { 'cellmesh-token': token }), ...call.headers };
      return callAs(routerSvid, 'api', { path: '/v1/messages', ...call, headers });
    },
    routerClient: async (service) => {
      const source = new WatchSource<TlsIdentity>({ svid: routerSvid, bundles: await trusted() });
      const port = () => services[service].sidecar.ports.inbound!;
      return stack.use(new MeshClient({ identity: source, expect: services[service].id, port }));
    },
    dialAsRouter: async (service) => {
      const source = new WatchSource<TlsIdentity>({ svid: routerSvid, bundles: await trusted() });
      const { id: expect, sidecar } = services[service];
      const port = sidecar.ports.inbound!;
      return (await dialMtls({ host: '127.0.0.1', port, identity: source, expect, alpn: ['http/1.1'], clock })).socket;
    },
    svidOf: async (service) => (await readSvid(join(services[service].stateDir, 'svid'), clock.now())).svid,
    client: async (svid) => {
      const admin = await readSvid(join(stateDir, 'admin'), clock.now());
      const source = new WatchSource({ ...admin, svid: svid ?? admin.svid });
      const expect = controlPlaneId(trustDomain);
      return new ApiClient({ host: '127.0.0.1', port: controlPlanePort, expect, identity: source, clock });
    },
    findDecision: async (id) => {
      using client = await cell.client();
      return await eventually(async () => {
        const { record } = await client.call(DecisionLog.method.find, { id });
        return parseDecisionRecord(record);
      });
    },
    addInstance: async (name, flags = {}) => {
      const directory = join(root, `${name}-${instances++}`);
      await mkdir(directory, { mode: 0o700 });
      const joinToken = `${directory}.join-token`;
      const { token } = await controlPlane!.joinTokens.create({ id: services[name].id });
      await writeFile(joinToken, `${token.reveal()}\n`, { mode: 0o600 });
      const free = { inbound: '127.0.0.1:0', outbound: '127.0.0.1:0', health: '127.0.0.1:0' };
      const sidecar = await starters[name]({
        joinToken,
        stateDir: directory,
        ...free,
        ...options.sidecarFlags,
        ...flags,
      });
      await eventually(() => assertReady(sidecar));
      return sidecar;
    },
    stopControlPlane: stopTheControlPlane,
    startControlPlane: startTheControlPlane,
    whenReady: () =>
      eventually(() => {
        const reasons = serviceNames
          .filter((name) => !options.withoutSidecars?.includes(name))
          .flatMap((name) => services[name].sidecar.notReady().map((reason) => `${name}: ${reason}`));
        if (reasons.length > 0) throw new Error(reasons.join('; '));
      }, 20_000),
    async [Symbol.asyncDispose]() {
      // A sidecar waits for its application to end.
      await Promise.all(serviceNames.map((name) => applications[name][Symbol.asyncDispose]()));
      await stack.disposeAsync();
    },
  };
  if (options.withoutSidecars === undefined) {
    await cell.whenReady();
    await eventually(() => assertKnowEachOther(services));
  }
  return cell;
}

async function registerKey(client: ApiClient, owner: SpiffeId): Promise<SigningKey> {
  const key = generateSigningKey({ iss: tokenIssuer, kind: 'cell', owner });
  const jwk = JSON.stringify({ ...key.published.jwk, kid: key.published.kid });
  await client.call(IdentityEdge.method.registerSigningKey, { jwk });
  return key;
}

function assertReady(sidecar: Sidecar): void {
  const reasons = sidecar.notReady();
  if (reasons.length > 0) throw new Error(reasons.join('; '));
}

function assertKnowEachOther({ api, messaging }: Readonly<Record<ServiceName, CellService>>): void {
  for (const { sidecar } of [api, messaging]) {
    if (sidecar.knownInstances() === 0) throw new Error('an instance of a callee is not known yet');
  }
}
