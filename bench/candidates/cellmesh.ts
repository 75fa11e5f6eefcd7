import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fetch } from 'undici';
import { IdentityAdmin, IdentityEdge } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { bundlesOf, parseTrustBundle } from '#certs/trust-bundle.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { type RunningControlPlane, startControlPlane } from '#control-plane/start-control-plane.ts';
import { dialMtls } from '#net/dial.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { WatchSource } from '#runtime/watch.ts';
import { generateSigningKey, type SigningKey } from '#tokens/signing-key.ts';
import { callHttp, startApplication } from '../../test/support/application.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  globalTrustDomain,
  type IdentitySetting,
  startIdentitySetting,
  tokenIssuer,
} from '../../test/support/identity-setting.ts';
import { mintTestToken } from '../../test/support/mint-test-token.ts';
import { temporaryDirectory } from '../../test/support/temporary-directory.ts';
import type { Backend, Candidate } from '../candidate.ts';

const cell = parseTrustDomain('cell-1.cellmesh.localhost');
/** For profiles: `--cpu-prof`, `--trace-gc`. */
const nodeFlags = process.env.BENCH_NODE_FLAGS;
const command = join(import.meta.dirname, '../../cellmesh');

/**
 * A pair of sidecars as processes of their own, doing all of their work: mutual TLS, a customer's token found by its handle, carried on,
 * verified and held against policy, and a decision logged on both sides. Identity and control plane run beside them, idle.
 */
export async function startCellmesh(backend: Backend): Promise<Candidate> {
  await using starting = new AsyncDisposableStack();
  const root = starting.use(await temporaryDirectory()).path;
  const identity = starting.use(await startIdentitySetting(join(root, 'identity')));
  const handles: string[] = [];
  const application = starting.use(
    await startApplication(({ headers }) => {
      handles.push(String(headers['cellmesh-context']));
      return { status: 200, body: '' };
    }),
  );
  const controlPlane = starting.use(await startCellControlPlane(root, identity, application.port, backend.port));
  const sidecarOf = async (name: string) => {
    const sidecar = await startSidecar(name, root, controlPlane);
    starting.defer(() => sidecar.stop());
    return sidecar;
  };
  const callee = await sidecarOf('backend');
  const caller = await sidecarOf('caller');
  const router = await identity.routerSvid('router-1');
  const key = await registerKey(identity, router);
  const refresh = async () => {
    const token = await mintTestToken(key, { scope: 'bytes:read', clientId: router.id });
    await enter(router, token, caller, root);
  };
  await refresh();
  const owned = starting.move();
  return {
    name: 'cellmesh',
    target: { port: caller.outbound, host: 'backend' },
    get fields() {
      return { 'cellmesh-context': handles.at(-1)! };
    },
    refresh,
    inboundPids: [callee.process.pid!],
    outboundPids: [caller.process.pid!],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface BenchSidecar {
  readonly id: SpiffeId;
  readonly process: ChildProcess;
  readonly inbound: number;
  readonly outbound: number;
  stop(): Promise<void>;
}

async function startCellControlPlane(
  root: string,
  identity: IdentitySetting,
  callerPort: number,
  backendPort: number,
): Promise<RunningControlPlane> {
  const manifestsDir = join(root, 'manifests');
  await mkdir(manifestsDir);
  await writeFile(join(manifestsDir, 'bench.yaml'), manifests(callerPort, backendPort));
  const flags = {
    stateDir: join(root, 'control-plane'),
    manifestsDir,
    listen: '127.0.0.1:0',
    health: '127.0.0.1:0',
    globalTrustDomain,
    globalBundle: join(root, 'identity', 'trust-bundle.json'),
    identity: `127.0.0.1:${identity.identity.address.port}`,
  };
  const config = loadConfig(controlPlaneSettings, { environment: {}, flags });
  const surroundings = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const controlPlane = await startControlPlane(config, surroundings);
  await identity.admin.call(IdentityAdmin.method.registerCell, {
    cell: {
      cellId: 'cell-1',
      trustDomain: cell,
      trustBundle: await readFile(join(root, 'control-plane', 'trust-bundle.json'), 'utf8'),
      controlPlaneHost: '127.0.0.1',
      controlPlanePort: controlPlane.address.port,
    },
  });
  await eventually(() => assertReady(controlPlane.notReady()), 20_000);
  return controlPlane;
}

async function startSidecar(name: string, root: string, controlPlane: RunningControlPlane): Promise<BenchSidecar> {
  const id = workloadId(cell, 'bench', name);
  const [inbound, outbound, health] = [await freePort(), await freePort(), await freePort()];
  const joinToken = join(root, `${name}.join-token`);
  await writeFile(joinToken, controlPlane.joinTokens.create({ id }).token.reveal(), { mode: 0o600 });
  const flags = {
    namespace: 'bench',
    'service-account': name,
    'cell-id': 'cell-1',
    'trust-domain': cell,
    'global-trust-domain': globalTrustDomain,
    'control-plane': `127.0.0.1:${controlPlane.address.port}`,
    'trust-bundle': join(root, 'control-plane', 'trust-bundle.json'),
    'join-token': joinToken,
    'state-dir': join(root, name),
    inbound: `127.0.0.1:${inbound}`,
    outbound: `127.0.0.1:${outbound}`,
    health: `127.0.0.1:${health}`,
    'log-level': 'error',
  };
  await mkdir(flags['state-dir'], { mode: 0o700 });
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
  const child = spawn(command, ['sidecar', '--until-stdin-ends', ...args], {
    env: { ...process.env, CELLMESH_NODE_FLAGS: nodeFlags ?? '' },
    stdio: ['pipe', nodeFlags === undefined ? 'ignore' : 'inherit', 'inherit'],
  });
  const ended = once(child, 'close');
  await eventually(async () => {
    const response = await fetch(`http://127.0.0.1:${health}/readyz`);
    assertReady(((await response.json()) as { reasons: readonly string[] }).reasons);
  }, 20_000);
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  return { id, process: child, inbound, outbound, stop };
}

/** A customer's request comes in at the caller, which gives its application a handle for the calls that it causes. */
async function enter(svid: Svid, token: string, caller: BenchSidecar, root: string): Promise<void> {
  const ownBundle = parseTrustBundle(await readFile(join(root, 'control-plane', 'trust-bundle.json'), 'utf8'), cell);
  const identity = new WatchSource({ svid, bundles: bundlesOf(ownBundle) });
  await eventually(async () => {
    const { socket } = await dialMtls({
      host: '127.0.0.1',
      port: caller.inbound,
      identity,
      expect: caller.id,
      alpn: ['http/1.1'],
      clock: systemClock,
    });
    const headers = { 'cellmesh-token': token };
    const { status, body } = await callHttp({ socket, authority: 'caller', path: '/start', headers });
    socket.destroy();
    if (status !== 200) throw new Error(`${status} ${body}`);
  }, 20_000);
}

async function registerKey(identity: IdentitySetting, router: Svid): Promise<SigningKey> {
  const key = generateSigningKey({ iss: tokenIssuer, kind: 'cell', owner: router.id });
  const jwk = JSON.stringify({ ...key.published.jwk, kid: key.published.kid });
  await identity.client(router).call(IdentityEdge.method.registerSigningKey, { jwk });
  return key;
}

/** Tried in vain before the one that allows: ten in all, as Envoy has. */
const otherRules = Array.from(
  { length: 9 },
  (_, n) =>
    `    - { name: other-${n}, from: [bench/caller], http: { paths: [/v1/resource-${n}/**] }, scopes: [bytes:read] }`,
).join('\n');

function manifests(callerPort: number, backendPort: number): string {
  return `
apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: ${cell}
  domain: ${globalTrustDomain}
  tokenIssuer: ${tokenIssuer}
  scopes:
    bytes:read: Read bytes.
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: caller, namespace: bench }
spec:
  serviceAccount: caller
  mode: enforce
  ports: [{ port: ${callerPort}, protocol: http }]
  allow:
    - { name: start, from: [router], http: { methods: [GET], paths: [/start] }, scopes: [bytes:read] }
  calls:
    - { to: bench/backend, carry: [bytes:read] }
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: backend, namespace: bench }
spec:
  serviceAccount: backend
  mode: enforce
  ports: [{ port: ${backendPort}, protocol: http }]
  allow:
${otherRules}
    - { name: read, from: [bench/caller], http: { methods: [GET, POST], paths: ["/bytes/*"] }, scopes: [bytes:read] }
`;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

function assertReady(reasons: readonly string[]): void {
  if (reasons.length > 0) throw new Error(reasons.join('; '));
}
