import { glob, stat, statfs } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { Agent, fetch } from 'undici';
import { readTextFile } from '#certs/private-file.ts';
import { inspectSvid } from '#certs/svid.ts';
import { parseTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import type { Address } from '#runtime/config.ts';
import { type Installation, type ServicePlan, trustDomain } from '../../installation.ts';
import { takenPorts } from '../../up/open-state.ts';
import { type Fact, factOf, type MachineFacts, type SidecarFacts } from '../facts.ts';
import { sidecarStateOf } from './sidecar-state.ts';

/** What nobody but their owner may read; who reads them refuses them otherwise. */
const secretFiles = '**/{*.key,root.pem,signing.pem,join-token}';
const groupAndOthers = 0o077;

/** Looks at a state directory, and asks what runs from it. Asks for nothing that could change anything. */
export async function machineFacts(installation: Installation, signal: AbortSignal): Promise<MachineFacts> {
  const { stateDir, services, router, controlPlane, identity } = installation;
  const [disk, exposed, processes, sidecars, roots, heldRoots] = await Promise.all([
    factOf(() => diskOf(stateDir), signal),
    factOf(() => exposedIn(installation), signal),
    Promise.all([
      readinessOf('identity', identity.health, signal),
      readinessOf('the control plane', controlPlane.health, signal),
      readinessOf('the router', router.health, signal),
    ]),
    Promise.all(services.map((service) => sidecarOf(service, signal))),
    factOf(async () => rootsOf(await cellBundle(controlPlane.stateDir)), signal),
    Promise.all([
      heldBy('the router', router.stateDir, signal),
      ...services.map(({ namespace, name, stateDir }) => heldBy(`${namespace}/${name}`, stateDir, signal)),
    ]),
  ]);
  const runs = processes.some(({ waitsFor }) => 'value' in waitsFor) || sidecars.some(({ state }) => 'value' in state);
  return {
    ...{ stateDir: shown(stateDir), disk, exposed, processes, sidecars, roots, heldRoots },
    ...(!runs && { takenPorts: await factOf(() => takenPorts(installation), signal) }),
  };
}

async function diskOf(directory: string) {
  const { bavail, blocks, bsize } = await statfs(directory);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}

async function exposedIn({ stateDir, services, router, controlPlane, identity }: Installation) {
  const paths = [stateDir, ...[...services, router, controlPlane, identity].map((one) => one.stateDir)];
  for await (const file of glob(secretFiles, { cwd: stateDir })) {
    // `current` leads to one of the directories beside it.
    if (!file.includes('/current/')) paths.push(join(stateDir, file));
  }
  const modes = await Promise.all(paths.map(async (path) => ({ path: shown(path), mode: (await stat(path)).mode })));
  return modes.filter(({ mode }) => (mode & groupAndOthers) !== 0);
}

/** As one would write it here. */
export function shown(path: string): string {
  const short = relative(process.cwd(), path) || '.';
  return short.startsWith('..') ? path : short;
}

async function readinessOf(name: string, { host, port }: Address, signal: AbortSignal) {
  const waitsFor = await factOf(async () => {
    const answer = await fetch(`http://${host}:${port}/readyz`, { signal });
    const { reasons } = (await answer.json()) as { reasons?: unknown };
    if (!Array.isArray(reasons)) throw new Error(`what answers at ${host}:${port} is another program`);
    return reasons.map(String);
  }, signal);
  return { name, waitsFor };
}

async function sidecarOf({ namespace, name, stateDir }: ServicePlan, signal: AbortSignal): Promise<SidecarFacts> {
  const dispatcher = new Agent({ connect: { socketPath: join(stateDir, 'admin', 'sidecar.sock') } });
  try {
    const ask = async () => {
      const answer = await fetch('http://sidecar/state', { dispatcher, signal });
      return sidecarStateOf(await answer.json());
    };
    return { name: `${namespace}/${name}`, state: await factOf(ask, signal) };
  } finally {
    await dispatcher.destroy();
  }
}

async function cellBundle(stateDir: string): Promise<TrustBundle> {
  return parseTrustBundle(await readTextFile(join(stateDir, 'trust-bundle.json')), trustDomain);
}

async function heldBy(name: string, stateDir: string, signal: AbortSignal) {
  const roots: Fact<readonly string[]> = await factOf(async () => {
    const { bundles } = await inspectSvid(join(stateDir, 'svid'));
    return rootsOf(bundles.get(trustDomain));
  }, signal);
  return { name, roots };
}

function rootsOf(bundle: TrustBundle | undefined): readonly string[] {
  return (bundle?.roots ?? []).map(({ der }) => der.toString('base64'));
}
