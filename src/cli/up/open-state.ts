import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists } from '#certs/private-file.ts';
import type { Address } from '#runtime/config.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { findInstallation, type Installation, portBaseDefault, writeInstallation } from '../installation.ts';

interface OpenOptions {
  readonly state: string;
  readonly fresh: boolean;
  readonly portBase?: number;
}

const examplePolicyDir = fileURLToPath(import.meta.resolve('#examples/messaging/policy'));

/**
 * The state directory, made when there is none, with everything checked that would otherwise go wrong halfway.
 * @throws CellmeshError `port_taken`, `config_invalid`, `state_version`, `file_unreadable`
 */
export async function openStateDirectory(
  { state, fresh, portBase }: OpenOptions,
  plan: (portBase: number) => Installation,
): Promise<Installation> {
  const known = await findInstallation(state).catch((error: unknown) => {
    if (fresh) return undefined;
    throw error;
  });
  if (known !== undefined && !fresh && portBase !== undefined && portBase !== known.portBase) {
    throw new CellmeshError(
      'config_invalid',
      `${known.stateDir} was made for ports from ${known.portBase} on: start without --port-base, with --fresh, or with another --state`,
    );
  }
  const installation = plan(portBase ?? (fresh ? undefined : known?.portBase) ?? portBaseDefault);
  await refuseTakenPorts(installation);
  if (fresh) await removeState(installation.stateDir);
  if (known === undefined || fresh) await refuseForeignDirectory(installation.stateDir);
  const { services, router, controlPlane, identity, logsDir, configDir, policyDir, stateDir } = installation;
  for (const directory of [
    stateDir,
    logsDir,
    configDir,
    ...[...services, router, controlPlane, identity].map((one) => one.stateDir),
  ])
    await mkdir(directory, { recursive: true, mode: 0o700 });
  if (!(await exists(policyDir))) await copyPolicy(installation);
  await writeInstallation(installation);
  return installation;
}

async function removeState(directory: string): Promise<void> {
  if (!(await exists(directory))) return;
  await refuseForeignDirectory(directory);
  await rm(directory, { recursive: true });
}

/** `--state ~` must not fill, let alone remove, what is not ours. */
async function refuseForeignDirectory(directory: string): Promise<void> {
  const names = (await exists(directory)) ? await readdir(directory) : [];
  if (names.length === 0 || names.includes('installation.json')) return;
  throw new CellmeshError(
    'config_invalid',
    `${directory} holds other things and was not made by \`cellmesh up\`: name another directory with --state`,
  );
}

/** The manifests of the example, with the ports of this installation. They are the user's from then on. */
async function copyPolicy({ policyDir, portBase }: Installation): Promise<void> {
  await mkdir(policyDir, { recursive: true, mode: 0o700 });
  for (const name of await readdir(examplePolicyDir)) {
    const text = await readFile(join(examplePolicyDir, name), 'utf8');
    const moved = text.replace(
      /\b(port: |listen: 127\.0\.0\.1:)(\d+)/g,
      (_, before, port) => before + (port - portBaseDefault + portBase),
    );
    await writeFile(join(policyDir, basename(name)), moved);
  }
}

async function refuseTakenPorts(installation: Installation): Promise<void> {
  const taken = await takenPorts(installation);
  if (taken.length === 0) return;
  const [port, ports] = taken.length === 1 ? ['port', 'is'] : ['ports', 'are'];
  throw new CellmeshError(
    'port_taken',
    `${port} ${taken.join(', ')} ${ports} in use by another program, or by a cell that runs already: stop it, or choose others with --port-base`,
  );
}

/** Those that are in use of all that a start needs: `14010 (the control plane)`. */
export async function takenPorts(installation: Installation): Promise<readonly string[]> {
  const { services, router, controlPlane, identity } = installation;
  const wanted: [string, Address][] = [
    ['the router', router.listen],
    ["the router's health", router.health],
    ['the control plane', controlPlane.listen],
    ["the control plane's health", controlPlane.health],
    ['identity', identity.listen],
    ["identity's health", identity.health],
    ...services.flatMap(({ name, callee, ...service }): [string, Address][] => [
      [`${name}`, service.application],
      ...(callee === undefined ? [] : [[`calls of ${name} to ${callee.name}`, callee.listen] as [string, Address]]),
      [`the sidecar of ${name} (inbound)`, service.inbound],
      [`the sidecar of ${name} (outbound)`, service.outbound],
      [`the sidecar of ${name} (health)`, service.health],
    ]),
  ];
  const taken: string[] = [];
  for (const [name, address] of wanted) if (await isTaken(address)) taken.push(`${address.port} (${name})`);
  return taken;
}

function isTaken({ host, port }: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(true));
    server.listen({ host, port }, () => server.close(() => resolve(false)));
  });
}
