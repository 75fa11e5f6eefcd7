import { join, resolve } from 'node:path';
import { readTextFile, writePrivateFile } from '#certs/private-file.ts';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import type { Address } from '#runtime/config.ts';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';
import { parseCellId } from '#tokens/cell-id.ts';

/** A service of the demonstration: an application and its sidecar. */
export interface ServicePlan {
  readonly namespace: string;
  readonly name: string;
  readonly id: SpiffeId;
  /** What its application speaks. */
  readonly protocol: 'http' | 'grpc' | 'tcp';
  readonly application: Address;
  /** The service that the application calls at a port of its own (`calls[].listen` of the example's manifests), and where. */
  readonly callee?: { readonly name: string; readonly listen: Address };
  readonly inbound: Address;
  readonly outbound: Address;
  readonly health: Address;
  readonly stateDir: string;
}

/** Everything that `cellmesh up` runs on one machine, and where: computed from a state directory and a first port. */
export interface Installation {
  readonly stateDir: string;
  readonly portBase: number;
  readonly logsDir: string;
  readonly configDir: string;
  /** The manifests in force; a change is seen within a second. */
  readonly policyDir: string;
  readonly services: readonly ServicePlan[];
  readonly controlPlane: { readonly listen: Address; readonly health: Address; readonly stateDir: string };
  readonly identity: { readonly listen: Address; readonly health: Address; readonly stateDir: string };
  readonly router: {
    readonly instance: string;
    readonly listen: Address;
    readonly health: Address;
    readonly stateDir: string;
    readonly edgeDir: string;
  };
}

export const region = 'local';
export const cellId = parseCellId('cell-1');
export const globalTrustDomain = parseTrustDomain('cellmesh.localhost');
export const trustDomain = parseTrustDomain(`${cellId}.${globalTrustDomain}`);
export const tokenIssuer = `https://identity.${globalTrustDomain}`;
export const portBaseDefault = 14_000;
export const stateDirDefault = '.cellmesh';

const namespace = 'messaging';
/** Those that call before those that are called. */
const serviceKinds: readonly (Pick<ServicePlan, 'name' | 'protocol'> & { readonly callee?: string })[] = [
  { name: 'api', protocol: 'http' },
  { name: 'messaging', protocol: 'http', callee: 'store' },
  { name: 'delivery', protocol: 'http', callee: 'carrier' },
  { name: 'carrier', protocol: 'grpc' },
  { name: 'store', protocol: 'tcp' },
];
const host = '127.0.0.1';
/** From the first port, as DESIGN.md 6 numbers them; the n-th service adds 100 n. */
const offsets = {
  outbound: 1,
  inbound: 6,
  controlPlane: 10,
  controlPlaneHealth: 13,
  sidecarHealth: 20,
  identity: 30,
  identityHealth: 31,
  application: 80,
  callee: 90,
  router: 443,
  routerHealth: 444,
} as const;
const documentName = 'installation.json';
/** Of the document, and of everything beside it. */
const version = 2;

export function planInstallation(directory: string, portBase: number): Installation {
  const stateDir = resolve(directory);
  const at = (offset: number): Address => ({ host, port: portBase + offset });
  return {
    stateDir,
    portBase,
    logsDir: join(stateDir, 'logs'),
    configDir: join(stateDir, 'config'),
    policyDir: join(stateDir, 'policy'),
    services: serviceKinds.map(({ name, protocol, callee }, n) => ({
      namespace,
      name,
      id: workloadId(trustDomain, namespace, name),
      protocol,
      ...(callee !== undefined && { callee: { name: callee, listen: at(offsets.callee + 100 * n) } }),
      application: at(offsets.application + 100 * n),
      inbound: at(offsets.inbound + 100 * n),
      outbound: at(offsets.outbound + 100 * n),
      health: at(offsets.sidecarHealth + 100 * n),
      stateDir: join(stateDir, 'sidecars', name),
    })),
    controlPlane: {
      listen: at(offsets.controlPlane),
      health: at(offsets.controlPlaneHealth),
      stateDir: join(stateDir, 'control-plane'),
    },
    identity: {
      listen: at(offsets.identity),
      health: at(offsets.identityHealth),
      stateDir: join(stateDir, 'identity'),
    },
    router: {
      instance: 'router-1',
      listen: at(offsets.router),
      health: at(offsets.routerHealth),
      stateDir: join(stateDir, 'router'),
      edgeDir: join(stateDir, 'edge'),
    },
  };
}

/** Writes down which ports a state directory was made for. */
export async function writeInstallation({ stateDir, portBase }: Installation): Promise<void> {
  await writePrivateFile(join(stateDir, documentName), `${JSON.stringify({ version, portBase })}\n`);
}

/** What is installed in `directory`; undefined when nothing is. @throws CellmeshError `state_version`, `file_unreadable` */
export async function findInstallation(directory: string): Promise<Installation | undefined> {
  const path = join(directory, documentName);
  let text: string;
  try {
    text = await readTextFile(path);
  } catch (error) {
    if (isCellmeshError(error, 'file_unreadable') && (error.cause as NodeJS.ErrnoException)?.code === 'ENOENT')
      return undefined;
    throw error;
  }
  const { version: found, portBase } = parse(text);
  if (found !== version || typeof portBase !== 'number') {
    throw new CellmeshError(
      'state_version',
      `${path} is of version ${String(found)}, this cellmesh reads ${version}: run the one that wrote it, or start with --fresh`,
    );
  }
  return planInstallation(directory, portBase);
}

/** For commands that work on what `up` made. @throws CellmeshError `installation_missing` */
export async function readInstallation(directory: string): Promise<Installation> {
  const found = await findInstallation(directory);
  if (found !== undefined) return found;
  throw new CellmeshError(
    'installation_missing',
    `${resolve(directory)} is no state directory: start a cell with \`cellmesh up\`, or name its directory with --state`,
  );
}

/** `messaging/delivery` or, where the name is clear, `delivery`. @throws CellmeshError `not_found` */
export function serviceNamed(installation: Installation, name: string): ServicePlan {
  const found = installation.services.find(
    (service) => name === service.name || name === `${service.namespace}/${service.name}`,
  );
  if (found !== undefined) return found;
  const names = installation.services.map((service) => `${service.namespace}/${service.name}`).join(', ');
  throw new CellmeshError('not_found', `there is no service ${name}; there are ${names}`);
}

function parse(text: string): { version?: unknown; portBase?: unknown } {
  try {
    return (JSON.parse(text) ?? {}) as { version?: unknown; portBase?: unknown };
  } catch {
    return {};
  }
}
