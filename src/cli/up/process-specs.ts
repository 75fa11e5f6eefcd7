import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writePrivateFile } from '#certs/private-file.ts';
import type { Address } from '#runtime/config.ts';
import {
  cellId,
  globalTrustDomain,
  type Installation,
  region,
  type ServicePlan,
  tokenIssuer,
  trustDomain,
} from '../installation.ts';
import type { ProcessSpec } from './supervised-process.ts';

type Role = 'identity' | 'control-plane' | 'router' | 'sidecar';
type RoleSettings = Readonly<Record<string, string | number>>;

/** This command itself: `main.ts`, or `main.js` where it was built. */
const command = process.argv[1]!;

/** A process of the mesh. Its settings are written to a file that shows how such a process is set up. */
export async function roleSpec(role: Role, installation: Installation, service?: ServicePlan): Promise<ProcessSpec> {
  const name = service === undefined ? role : `${service.name}-sidecar`;
  const file = join(installation.configDir, `${name}.yaml`);
  await writePrivateFile(file, yamlOf(settingsOf(role, installation, service)));
  return {
    name,
    args: [...process.execArgv, command, role, '--config', file, '--until-stdin-ends'],
    logFile: join(installation.logsDir, `${name}.log`),
  };
}

/** A service of the example: it finds the others through the proxy that its sidecar is, or at a port that this one holds open (`STORE`). */
export function applicationSpec(
  { name, application, outbound, callee }: ServicePlan,
  { logsDir }: Installation,
): ProcessSpec {
  return {
    name,
    args: [fileURLToPath(import.meta.resolve(`#examples/messaging/services/${name}.js`))],
    environment: {
      PORT: String(application.port),
      NODE_USE_ENV_PROXY: '1',
      HTTP_PROXY: `http://${text(outbound)}`,
      ...(callee !== undefined && { [callee.name.toUpperCase()]: text(callee.listen) }),
    },
    logFile: join(logsDir, `${name}.log`),
  };
}

function settingsOf(role: Role, installation: Installation, service: ServicePlan | undefined): RoleSettings {
  const { identity, controlPlane, router, policyDir } = installation;
  const globalBundle = join(identity.stateDir, 'trust-bundle.json');
  switch (role) {
    case 'identity':
      return {
        stateDir: identity.stateDir,
        trustDomain: globalTrustDomain,
        region,
        tokenIssuer,
        listen: text(identity.listen),
        health: text(identity.health),
      };
    case 'control-plane':
      return {
        stateDir: controlPlane.stateDir,
        manifestsDir: policyDir,
        listen: text(controlPlane.listen),
        health: text(controlPlane.health),
        globalTrustDomain,
        globalBundle,
        identity: text(identity.listen),
        identityRegion: region,
      };
    case 'router':
      return {
        instance: router.instance,
        region,
        globalTrustDomain,
        globalBundle,
        identity: text(identity.listen),
        identityRegion: region,
        tokenIssuer,
        joinToken: join(router.stateDir, 'join-token'),
        stateDir: router.stateDir,
        listen: text(router.listen),
        certificate: join(router.edgeDir, 'web.pem'),
        certificateKey: join(router.edgeDir, 'web.key'),
        health: text(router.health),
      };
    case 'sidecar':
      return {
        namespace: service!.namespace,
        serviceAccount: service!.name,
        cellId,
        trustDomain,
        globalTrustDomain,
        controlPlane: text(controlPlane.listen),
        trustBundle: join(controlPlane.stateDir, 'trust-bundle.json'),
        joinToken: join(service!.stateDir, 'join-token'),
        stateDir: service!.stateDir,
        inbound: text(service!.inbound),
        outbound: text(service!.outbound),
        health: text(service!.health),
      };
  }
}

function text({ host, port }: Address): string {
  return `${host}:${port}`;
}

function yamlOf(settings: RoleSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
    .join('');
}
