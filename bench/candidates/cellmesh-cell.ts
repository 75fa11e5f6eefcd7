import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IdentityAdmin, IdentityEdge } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { type RunningControlPlane, startControlPlane } from '#control-plane/start-control-plane.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { generateSigningKey, type SigningKey } from '#tokens/signing-key.ts';
import { eventually } from '../../test/support/eventually.ts';
import { globalTrustDomain, type IdentitySetting, tokenIssuer } from '../../test/support/identity-setting.ts';
import type { Backend } from '../candidate.ts';

export const cell = parseTrustDomain('cell-1.cellmesh.localhost');

/** The control plane of the cell that the sidecars belong to, in this process, with policy for a caller's application and the backend. */
export async function startCellControlPlane(
  root: string,
  identity: IdentitySetting,
  callerPort: number,
  backend: Backend,
): Promise<RunningControlPlane> {
  const manifestsDir = join(root, 'manifests');
  await mkdir(manifestsDir);
  await writeFile(join(manifestsDir, 'bench.yaml'), manifests(callerPort, backend));
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

/** A key of its own for the router, which sidecars then accept tokens of. */
export async function registerKey(identity: IdentitySetting, router: Svid): Promise<SigningKey> {
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

function manifests(callerPort: number, backend: Backend): string {
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
  ports: [{ port: ${backend.port}, protocol: http }, { port: ${backend.grpcPort}, protocol: grpc }]
  allow:
${otherRules}
    - { name: read, from: [bench/caller], http: { methods: [GET, POST], paths: ["/bytes/*"] }, scopes: [bytes:read] }
    - { name: call, from: [bench/caller], http: { methods: [POST], paths: [/bench.Bench/Call] }, scopes: [bytes:read] }
`;
}

export function assertReady(reasons: readonly string[]): void {
  if (reasons.length > 0) throw new Error(reasons.join('; '));
}
