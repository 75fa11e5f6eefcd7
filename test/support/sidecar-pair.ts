import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { startControlPlane } from '#control-plane/start-control-plane.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { globalTrustDomain, startIdentitySetting, tokenIssuer } from './identity-setting.ts';
import { type SidecarProcess, startSidecarProcess } from './sidecar-process.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const cell = parseTrustDomain('cell-1.cellmesh.localhost');

/** Where the caller's sidecar believes its callee to be, when somebody is to stand between the two. */
export const betweenHost = '127.0.0.2';

export interface SidecarPairOptions {
  /** Where the callee's sidecar finds its application. */
  readonly applicationPort: number;
  readonly protocol: 'http' | 'grpc' | 'tcp';
  /** The callee is dialled at `betweenHost`, on the port that its sidecar has on 127.0.0.1: nobody is there until the test puts something there. */
  readonly isBetween?: boolean;
  /** More of the caller's `calls` entry, in YAML: `, timeouts: { … }`. */
  readonly call?: string;
  /** Flags of both sidecars, without dashes. */
  readonly flags?: Readonly<Record<string, string>>;
}

/** `client -> port -> caller == mutual TLS, HTTP/2 ==> callee -> application`: the two sidecars are processes of their own. */
export interface SidecarPair extends AsyncDisposable {
  /** Where clients call the application, a plain port on loopback. */
  readonly port: number;
  readonly caller: SidecarProcess;
  readonly callee: SidecarProcess;
}

/** Identity and control plane run in this process; whoever calls `port` needs no token, and may do anything. */
export async function startSidecarPair(options: SidecarPairOptions): Promise<SidecarPair> {
  await using starting = new AsyncDisposableStack();
  const root = starting.use(await temporaryDirectory()).path;
  const identity = starting.use(await startIdentitySetting(join(root, 'identity')));
  const port = await freePort();
  const manifestsDir = join(root, 'manifests');
  await mkdir(manifestsDir);
  await writeFile(join(manifestsDir, 'pair.yaml'), manifests(options, port, await freePort()));
  const config = loadConfig(controlPlaneSettings, {
    environment: {},
    flags: {
      stateDir: join(root, 'control-plane'),
      manifestsDir,
      listen: '127.0.0.1:0',
      health: '127.0.0.1:0',
      globalTrustDomain,
      globalBundle: join(root, 'identity', 'trust-bundle.json'),
      identity: `127.0.0.1:${identity.identity.address.port}`,
    },
  });
  const surroundings = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const controlPlane = starting.use(await startControlPlane(config, surroundings));
  const trustBundleFile = join(root, 'control-plane', 'trust-bundle.json');
  await identity.admin.call(IdentityAdmin.method.registerCell, {
    cell: {
      cellId: 'cell-1',
      trustDomain: cell,
      trustBundle: await readFile(trustBundleFile, 'utf8'),
      controlPlaneHost: '127.0.0.1',
      controlPlanePort: controlPlane.address.port,
    },
  });
  await eventually(() => {
    const reasons = controlPlane.notReady();
    if (reasons.length > 0) throw new Error(reasons.join('; '));
  }, 20_000);

  const sidecarOf = async (name: string, more: Readonly<Record<string, string>> = {}) => {
    const joinToken = join(root, `${name}.join-token`);
    const { token } = controlPlane.joinTokens.create({ id: workloadId(cell, 'pair', name) });
    await writeFile(joinToken, token.reveal(), { mode: 0o600 });
    const sidecar = await startSidecarProcess({
      namespace: 'pair',
      'service-account': name,
      'cell-id': 'cell-1',
      'trust-domain': cell,
      'global-trust-domain': globalTrustDomain,
      'control-plane': `127.0.0.1:${controlPlane.address.port}`,
      'trust-bundle': trustBundleFile,
      'join-token': joinToken,
      'state-dir': join(root, name),
      ...options.flags,
      ...more,
    });
    return starting.use(sidecar);
  };
  const callee = await sidecarOf('callee', options.isBetween ? { advertise: betweenHost } : {});
  const caller = await sidecarOf('caller');
  const owned = starting.move();
  return { port, caller, callee, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function manifests({ applicationPort, protocol, call = '' }: SidecarPairOptions, listen: number, unused: number) {
  const anything = protocol === 'tcp' ? '' : ', http: { paths: ["/**"] }';
  return `
apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: ${cell}
  domain: ${globalTrustDomain}
  tokenIssuer: ${tokenIssuer}
  scopes: {}
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: caller, namespace: pair }
spec:
  serviceAccount: caller
  mode: enforce
  ports: [{ port: ${unused}, protocol: http }]
  allow: []
  calls:
    - { to: pair/callee, carry: [], listen: "127.0.0.1:${listen}"${call} }
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: callee, namespace: pair }
spec:
  serviceAccount: callee
  mode: enforce
  ports: [{ port: ${applicationPort}, protocol: ${protocol} }]
  allow:
    - { name: all, from: [pair/caller], account: none${anything} }
`;
}
