import { Writable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { bundlesOf, type TrustBundles } from '#certs/trust-bundle.ts';
import { AccessLog } from '#feeds/access-log.ts';
import { DecisionRing } from '#feeds/decision-ring.ts';
import { DecisionSinks } from '#feeds/decision-sinks.ts';
import { OtlpCollector } from '#feeds/otlp-collector.ts';
import { otlpSettings } from '#feeds/otlp-settings.ts';
import { SpanExporter } from '#feeds/span-exporter.ts';
import { dialMtls } from '#net/dial.ts';
import type { EndpointsByService } from '#net/endpoints.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { compileCell } from '#policy/compile.ts';
import { type DecisionRecord, parseDecisionRecord } from '#policy/decision-record.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { silentLogger } from '#runtime/logger.ts';
import { Metrics } from '#runtime/metrics.ts';
import { systemRandom } from '#runtime/random.ts';
import { WatchSource } from '#runtime/watch.ts';
import { type ActivePolicy, activePolicy } from '#sidecar/active-policy.ts';
import { CandidateTally } from '#sidecar/candidate-tally.ts';
import { DataPlane } from '#sidecar/data-plane.ts';
import type { Interception } from '#sidecar/intercepted-calls.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import { KeySet } from '#tokens/key-set.ts';
import { generateSigningKey, type SigningKey } from '#tokens/signing-key.ts';
import type { Protocol } from '#wire/exchange.ts';
import { limitSettings, wireLimitsOf } from '#wire/limit-settings.ts';
import {
  type Application,
  callHttp,
  type Handler,
  type HttpCall,
  type HttpResponse,
  startApplication,
} from './application.ts';
import {
  cellDocument,
  chainHandler,
  manifests,
  type Ports,
  type ServiceName,
  serviceNames,
} from './messaging-application.ts';
import { mintTestToken, router, type TokenChange } from './mint-test-token.ts';
import { temporaryDirectory } from './temporary-directory.ts';
import { testAuthority } from './test-authority.ts';

const trustDomain = parseTrustDomain('cell-1.cellmesh.localhost');
const globalTrustDomain = parseTrustDomain('cellmesh.localhost');

export interface MeshService {
  readonly id: SpiffeId;
  readonly application: Application;
  readonly dataPlane: DataPlane;
  readonly policy: WatchSource<ActivePolicy | undefined>;
  readonly identity: WatchSource<TlsIdentity>;
  /** A new SVID for the same service, not yet in use. */
  issue(): Promise<TlsIdentity>;
  readonly metrics: Metrics;
  readonly records: readonly DecisionRecord[];
  /** JSON lines of the access log. */
  readonly accessLines: readonly string[];
  /** A call of the application through its sidecar. */
  call(call: HttpCall): Promise<HttpResponse>;
}

export interface Mesh extends AsyncDisposable {
  readonly services: Readonly<Record<ServiceName, MeshService>>;
  readonly keySet: WatchSource<KeySet>;
  readonly endpoints: WatchSource<EndpointsByService>;
  /** Signs as the router `router-1`. */
  readonly signingKey: SigningKey;
  mint(change?: TokenChange): Promise<string>;
  /** A connection to a service's inbound port over mutual TLS as whoever `id` names. */
  dialAs(id: SpiffeId, service: ServiceName, protocol: Protocol): Promise<TLSSocket>;
  /** A request to a service's inbound port over mutual TLS as whoever `id` names, with any fields. */
  callAs(id: SpiffeId, service: ServiceName, call: HttpCall): Promise<HttpResponse>;
  /** What a customer's request through the router is to the cell. */
  callAsRouter(call: HttpCall & { token?: string }): Promise<HttpResponse>;
}

export interface MeshOptions {
  readonly handlers?: Partial<Record<ServiceName, Handler>>;
  /** Changes the manifests' text before it is read. */
  readonly editManifests?: (text: string) => string;
  /** Of `api` for `messaging`. */
  readonly listenPort?: number;
  /** Of `api`: what a packet filter redirects to it. */
  readonly interception?: Interception;
  /** Where sidecars take the mesh. Default: loopback. */
  readonly inboundHost?: string;
  /** Default: there must be none. */
  readonly onListenProblems?: (problems: readonly string[]) => void;
  /** Whether what they know is too old to decide by. */
  readonly isStale?: () => boolean;
  /** Whether a service's only instance goes away. */
  readonly isLeaving?: (service: ServiceName) => boolean;
  /** Threads of each. */
  readonly workers?: number;
  /** Base URL of a collector of spans. */
  readonly otlpEndpoint?: string;
  /** Limits, as flags would set them. */
  readonly limits?: Partial<Record<keyof typeof limitSettings, string>>;
}

/** Data planes of three services on real sockets, with everything else (policy, keys, endpoints, SVIDs) given by hand. */
export async function startMesh(options: MeshOptions = {}): Promise<Mesh> {
  const stack = new AsyncDisposableStack();
  const clock = systemClock;
  const cell = await testAuthority(clock, trustDomain);
  const global = await testAuthority(clock, globalTrustDomain);
  const bundles: TrustBundles = bundlesOf(...cell.bundles.values(), ...global.bundles.values());
  const signingKey = generateSigningKey({ iss: 'https://identity.cellmesh.localhost', kind: 'cell', owner: router });
  const keySet = new WatchSource(new KeySet([signingKey.published]));
  const endpoints = new WatchSource<EndpointsByService>(new Map());
  const { otlpEndpoint } = loadConfig(otlpSettings, {
    environment: {},
    flags: { otlpEndpoint: options.otlpEndpoint },
  });
  const limits = wireLimitsOf(loadConfig(limitSettings, { environment: {}, flags: options.limits ?? {} }));
  const idOf = (name: ServiceName) => workloadId(trustDomain, 'messaging', name);

  const applications = {} as Record<ServiceName, Application>;
  const services = {} as Record<ServiceName, MeshService>;
  for (const name of serviceNames) {
    const handler = options.handlers?.[name] ?? chainHandler(name, () => services[name].dataPlane.outboundPort!);
    applications[name] = stack.use(await startApplication(handler));
  }
  const ports = Object.fromEntries(serviceNames.map((name) => [name, applications[name].port])) as Ports;
  const edit = options.editManifests ?? ((text) => text);
  const documents = readDocuments(`${cellDocument}\n---\n${edit(manifests(ports, options.listenPort))}`, 'test.yaml');
  const compiled = compileCell(documents.cells[0]!, documents.policies);

  for (const name of serviceNames) {
    const id = idOf(name);
    const policy = new WatchSource<ActivePolicy | undefined>(activePolicy(compiled.snapshots.get(id)!));
    const directory = stack.use(await temporaryDirectory());
    const ring = stack.use(
      await DecisionRing.open({ directory: directory.path, clock: systemClock, logger: silentLogger }),
    );
    const records: DecisionRecord[] = [];
    const accessLines: string[] = [];
    const metrics = new Metrics();
    const spans = otlpEndpoint && stack.use(await spanExporter(name, otlpEndpoint, metrics));
    const dataPlane = stack.use(
      new DataPlane({
        locality: 'local',
        workers: options.workers ?? 1,
        instance: `${name}-test`,
        cellId: parseCellId('cell-1'),
        trustDomain,
        globalTrustDomain,
        inbound: { host: options.inboundHost ?? '127.0.0.1', port: 0 },
        outbound: { host: '127.0.0.1', port: 0 },
        applicationHost: '127.0.0.1',
        tracingRatio: 0,
        candidates: new CandidateTally(),
        isLeaving: () => options.isLeaving?.(name) ?? false,
        spans,
        limits,
        policy,
        keySet,
        endpoints,
        decisions: new DecisionSinks({
          ring,
          accessLog: new AccessLog(lines(accessLines)),
          report: (line) => records.push(parseDecisionRecord(line)),
        }),
        ...(name === 'api' && { interception: options.interception }),
        isStale: options.isStale ?? (() => false),
        onListenProblems: options.onListenProblems ?? expectNone,
        clock,
        random: systemRandom,
        logger: silentLogger,
        metrics,
      }),
    );
    await dataPlane.openOutbound();
    const issue = async () => ({ svid: await cell.issue(id), bundles });
    const identity = new WatchSource<TlsIdentity>(await issue());
    await dataPlane.openInbound(identity);
    const call = (call: HttpCall) => callHttp({ port: dataPlane.outboundPort!, ...call });
    const given = { identity, issue, policy, metrics, records, accessLines };
    services[name] = { id, application: applications[name], dataPlane, ...given, call };
  }
  endpoints.set(
    new Map(
      serviceNames.map((name) => [
        idOf(name),
        [{ host: '127.0.0.1', port: services[name].dataPlane.inboundPort!, locality: '', weight: 1 }],
      ]),
    ),
  );

  const dialAs = async (id: SpiffeId, service: ServiceName, protocol: Protocol) => {
    const authority = id.startsWith(`spiffe://${trustDomain}/`) ? cell : global;
    const identity = new WatchSource<TlsIdentity>({ svid: await authority.issue(id), bundles });
    const port = services[service].dataPlane.inboundPort!;
    const expect = idOf(service);
    return (await dialMtls({ host: '127.0.0.1', port, identity, expect, alpn: [protocol], clock })).socket;
  };
  const callAs = async (id: SpiffeId, service: ServiceName, call: HttpCall) => {
    const socket = await dialAs(id, service, 'http/1.1');
    try {
      return await callHttp({ authority: `${service}:${applications[service].port}`, ...call, socket });
    } finally {
      socket.destroy();
    }
  };
  return {
    services,
    keySet,
    endpoints,
    signingKey,
    mint: (change = {}) => mintTestToken(signingKey, change),
    dialAs,
    callAs,
    callAsRouter: ({ token, ...call }) => {
      const headers = { ...(token !== undefined && { 'cellmesh-token': token }), ...call.headers };
      return callAs(router, 'api', { path: '/v1/messages', ...call, headers });
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function expectNone(problems: readonly string[]): void {
  if (problems.length > 0) throw new Error(problems.join('; '));
}

async function spanExporter(name: string, url: URL, metrics: Metrics): Promise<SpanExporter> {
  const collector = await OtlpCollector.open({ url, clock: systemClock });
  const surroundings = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics };
  return new SpanExporter({ collector, resource: { 'service.name': name }, ...surroundings });
}

function lines(into: string[]): Writable {
  return new Writable({
    decodeStrings: false,
    write(chunk, _encoding, done) {
      into.push(...String(chunk).trimEnd().split('\n'));
      done();
    },
  });
}
