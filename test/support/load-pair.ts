import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IdentityAdmin, IdentityEdge } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { readSvid } from '#certs/svid.ts';
import { bundlesOf, parseTrustBundle } from '#certs/trust-bundle.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { type RunningControlPlane, startControlPlane } from '#control-plane/start-control-plane.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import { generateSigningKey } from '#tokens/signing-key.ts';
import { eventually } from './eventually.ts';
import { globalTrustDomain, type IdentitySetting, startIdentitySetting, tokenIssuer } from './identity-setting.ts';
import { type SidecarProcess, startSidecarProcess } from './load-sidecar.ts';
import { mintTestToken, type TokenChange } from './mint-test-token.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const cell = parseTrustDomain('cell-1.cellmesh.localhost');
const namespace = 'load';

export interface SidecarPairOptions {
  /** Of the caller's application, which routers may send to below `/start`. */
  readonly callerPort: number;
  /** Of the callee's application. */
  readonly calleePorts: readonly { readonly port: number; readonly protocol: 'http' | 'grpc' | 'tcp' }[];
  /** Rules of the callee, as entries of a list in YAML. */
  readonly allow: readonly string[];
  /** Settings of both sidecars, in kebab case. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Of both, for Node. */
  readonly nodeFlags?: string;
}

/** Two sidecars as processes of their own: the application of `caller` calls `callee`, scope `bytes:read`. */
export interface SidecarPair extends AsyncDisposable {
  readonly caller: SidecarProcess;
  readonly callee: SidecarProcess;
  /** Who dials the caller for a customer. */
  readonly router: Watch<TlsIdentity>;
  /** Who dials the callee: the caller's own SVID. */
  readonly peer: Watch<TlsIdentity>;
  /** A customer's token, as the router mints it. */
  mint(change?: TokenChange): Promise<string>;
}

/** Starts both, with identity and control plane in this process; all on free ports of loopback. */
export async function startSidecarPair(options: SidecarPairOptions): Promise<SidecarPair> {
  await using starting = new AsyncDisposableStack();
  const root = starting.use(await temporaryDirectory()).path;
  const identity = starting.use(await startIdentitySetting(join(root, 'identity')));
  const controlPlane = starting.use(await startCellControlPlane(root, identity, manifestsOf(options)));
  const trustBundle = join(root, 'control-plane', 'trust-bundle.json');
  const sidecarOf = async (name: string): Promise<SidecarProcess> => {
    const id = workloadId(cell, namespace, name);
    const joinToken = join(root, `${name}.join-token`);
    await writeFile(joinToken, controlPlane.joinTokens.create({ id }).token.reveal(), { mode: 0o600 });
    const flags = {
      namespace,
      'service-account': name,
      'cell-id': 'cell-1',
      'trust-domain': cell,
      'global-trust-domain': globalTrustDomain,
      'control-plane': `127.0.0.1:${controlPlane.address.port}`,
      'trust-bundle': trustBundle,
      'join-token': joinToken,
      'log-level': 'error',
      ...options.flags,
    };
    const { nodeFlags } = options;
    const stateDir = join(root, name);
    return starting.use(await startSidecarProcess({ id, stateDir, flags, ...(nodeFlags && { nodeFlags }) }));
  };
  const callee = await sidecarOf('callee');
  const caller = await sidecarOf('caller');
  const router = await identity.routerSvid('router-1');
  const key = generateSigningKey({ iss: tokenIssuer, kind: 'cell', owner: router.id });
  const jwk = JSON.stringify({ ...key.published.jwk, kid: key.published.kid });
  await identity.client(router).call(IdentityEdge.method.registerSigningKey, { jwk });
  const bundles = bundlesOf(parseTrustBundle(await readFile(trustBundle, 'utf8'), cell));
  const { svid } = await readSvid(join(caller.stateDir, 'svid'), systemClock.now());
  const owned = starting.move();
  return {
    caller,
    callee,
    router: new WatchSource<TlsIdentity>({ svid: router, bundles }),
    peer: new WatchSource<TlsIdentity>({ svid, bundles }),
    mint: (change = {}) => mintTestToken(key, { scope: 'bytes:read', clientId: router.id, ...change }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function startCellControlPlane(
  root: string,
  identity: IdentitySetting,
  manifests: string,
): Promise<RunningControlPlane> {
  const manifestsDir = join(root, 'manifests');
  await mkdir(manifestsDir);
  await writeFile(join(manifestsDir, 'pair.yaml'), manifests);
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
  await eventually(() => {
    const reasons = controlPlane.notReady();
    if (reasons.length > 0) throw new Error(reasons.join('; '));
  }, 20_000);
  return controlPlane;
}

function manifestsOf({ callerPort, calleePorts, allow }: SidecarPairOptions): string {
  const ports = calleePorts.map(({ port, protocol }) => `{ port: ${port}, protocol: ${protocol} }`).join(', ');
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
metadata: { name: caller, namespace: ${namespace} }
spec:
  serviceAccount: caller
  mode: enforce
  ports: [{ port: ${callerPort}, protocol: http }]
  allow:
    - { name: start, from: [router], http: { paths: ["/start/**"] }, scopes: [bytes:read] }
  calls:
    - { to: ${namespace}/callee, carry: [bytes:read] }
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: callee, namespace: ${namespace} }
spec:
  serviceAccount: callee
  mode: enforce
  ports: [${ports}]
  allow:
${allow.map((rule) => `    - ${rule}`).join('\n')}
`;
}
