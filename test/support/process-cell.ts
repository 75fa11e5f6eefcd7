import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IdentityAdmin, IdentityEdge } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { readSvid, type Svid } from '#certs/svid.ts';
import { bundlesOf, parseTrustBundle, type TrustBundles } from '#certs/trust-bundle.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { type RunningControlPlane, startControlPlane } from '#control-plane/start-control-plane.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { generateSigningKey, type SigningKey } from '#tokens/signing-key.ts';
import { eventually } from './eventually.ts';
import { globalTrustDomain, type IdentitySetting, startIdentitySetting, tokenIssuer } from './identity-setting.ts';
import { type SidecarProcess, startSidecarProcess } from './sidecar-process.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const trustDomain = parseTrustDomain('cell-1.cellmesh.localhost');

export interface ProcessCellOptions {
  /** Of all services. */
  readonly namespace: string;
  /** `ServicePolicy` documents. */
  readonly manifests: string;
  /** The cell's catalogue. */
  readonly scopes?: readonly string[];
}

export interface StartOptions {
  readonly flags?: Readonly<Record<string, string>> | undefined;
  readonly nodeFlags?: string | undefined;
  /** Directory below the cell's own; what lies there is taken up. Default: the service's name. */
  readonly state?: string;
}

/** A cell whose sidecars are processes of their own; identity and control plane run in this one. */
export interface ProcessCell extends AsyncDisposable {
  readonly bundles: TrustBundles;
  /** Who dials for customers, and signs their tokens. */
  readonly router: Svid;
  readonly signingKey: SigningKey;
  /** Resolves when it is ready; it ends with the cell at the latest. */
  startSidecar(service: string, options?: StartOptions): Promise<SidecarProcess>;
  /** What a sidecar shows to others. */
  svidOf(sidecar: SidecarProcess): Promise<Svid>;
}

export async function startProcessCell(options: ProcessCellOptions): Promise<ProcessCell> {
  await using starting = new AsyncDisposableStack();
  const root = starting.use(await temporaryDirectory()).path;
  const identity = starting.use(await startIdentitySetting(join(root, 'identity')));
  const controlPlane = starting.use(await startCellControlPlane(root, identity, options));
  const trustBundle = join(root, 'control-plane', 'trust-bundle.json');
  const router = await identity.routerSvid('router-1');
  const signingKey = generateSigningKey({ iss: tokenIssuer, kind: 'cell', owner: router.id });
  const jwk = JSON.stringify({ ...signingKey.published.jwk, kid: signingKey.published.kid });
  await identity.client(router).call(IdentityEdge.method.registerSigningKey, { jwk });
  const { namespace } = options;
  const owned = starting.move();
  return {
    bundles: bundlesOf(parseTrustBundle(await readFile(trustBundle, 'utf8'), trustDomain)),
    router,
    signingKey,
    async startSidecar(service, { flags, nodeFlags, state = service } = {}) {
      const id = workloadId(trustDomain, namespace, service);
      const joinToken = join(root, `${state}.join-token`);
      const { token } = await controlPlane.joinTokens.create({ id });
      await writeFile(joinToken, token.reveal(), { mode: 0o600 });
      const settings = {
        ...{ namespace, 'service-account': service, 'cell-id': 'cell-1', 'trust-domain': trustDomain },
        ...{ 'global-trust-domain': globalTrustDomain, 'trust-bundle': trustBundle, 'join-token': joinToken },
        'control-plane': `127.0.0.1:${controlPlane.address.port}`,
        ...flags,
      };
      return owned.use(await startSidecarProcess({ id, stateDir: join(root, state), flags: settings, nodeFlags }));
    },
    svidOf: async ({ stateDir }) => (await readSvid(join(stateDir, 'svid'), systemClock.now())).svid,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function startCellControlPlane(
  root: string,
  identity: IdentitySetting,
  { manifests, scopes = [] }: ProcessCellOptions,
): Promise<RunningControlPlane> {
  const manifestsDir = join(root, 'manifests');
  await mkdir(manifestsDir);
  await writeFile(join(manifestsDir, 'cell.yaml'), `${cellDocument(scopes)}\n---\n${manifests}`);
  const stateDir = join(root, 'control-plane');
  const flags = {
    ...{ stateDir, manifestsDir, listen: '127.0.0.1:0', health: '127.0.0.1:0', globalTrustDomain },
    globalBundle: join(root, 'identity', 'trust-bundle.json'),
    identity: `127.0.0.1:${identity.identity.address.port}`,
  };
  const config = loadConfig(controlPlaneSettings, { environment: {}, flags });
  const surroundings = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const controlPlane = await startControlPlane(config, surroundings);
  await identity.admin.call(IdentityAdmin.method.registerCell, {
    cell: {
      cellId: 'cell-1',
      trustDomain,
      trustBundle: await readFile(join(stateDir, 'trust-bundle.json'), 'utf8'),
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

function cellDocument(scopes: readonly string[]): string {
  return `
apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: ${trustDomain}
  domain: ${globalTrustDomain}
  tokenIssuer: ${tokenIssuer}
  scopes: { ${scopes.map((scope) => `"${scope}": A scope.`).join(', ')} }
`;
}
