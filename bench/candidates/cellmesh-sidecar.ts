import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fetch } from 'undici';
import { type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import type { RunningControlPlane } from '#control-plane/start-control-plane.ts';
import { eventually } from '../../test/support/eventually.ts';
import { freePort } from '../../test/support/free-port.ts';
import { globalTrustDomain } from '../../test/support/identity-setting.ts';
import { assertReady, cell } from './cellmesh-cell.ts';

/** For profiles: `--cpu-prof`, `--trace-gc`. */
const nodeFlags = process.env.BENCH_NODE_FLAGS;
const command = join(import.meta.dirname, '../../cellmesh');

export interface BenchSidecar {
  readonly id: SpiffeId;
  readonly process: ChildProcess;
  readonly inbound: number;
  readonly outbound: number;
  /** From the start of its process to `/readyz`. */
  readonly readyMs: number;
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

interface SidecarOptions {
  /** Of the cell: control plane, join tokens, states. */
  readonly root: string;
  readonly controlPlane: RunningControlPlane;
  /** Below `root`; what lies there is taken up. Default: the name. */
  readonly state?: string;
  /** Settings beside those that it needs. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A sidecar as a process of its own; resolves when it is ready. */
export async function startSidecar(
  name: string,
  { root, controlPlane, state = name, settings = {} }: SidecarOptions,
): Promise<BenchSidecar> {
  const id = workloadId(cell, 'bench', name);
  const [inbound, outbound, health] = [await freePort(), await freePort(), await freePort()];
  const joinToken = join(root, `${state}.join-token`);
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
    'state-dir': join(root, state),
    inbound: `127.0.0.1:${inbound}`,
    outbound: `127.0.0.1:${outbound}`,
    health: `127.0.0.1:${health}`,
    'connections-max': '20000',
    'idle-timeout': '600s',
    'log-level': 'error',
    ...settings,
  };
  await mkdir(flags['state-dir'], { recursive: true, mode: 0o700 });
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
  const begun = performance.now();
  const child = spawn(command, ['sidecar', '--until-stdin-ends', ...args], {
    env: { ...process.env, CELLMESH_NODE_FLAGS: nodeFlags ?? '' },
    stdio: ['pipe', nodeFlags === undefined ? 'ignore' : 'inherit', 'inherit'],
  });
  const ended = once(child, 'close');
  await eventually(
    async () => {
      if (child.exitCode !== null) return;
      const response = await fetch(`http://127.0.0.1:${health}/readyz`);
      assertReady(((await response.json()) as { reasons: readonly string[] }).reasons);
    },
    20_000,
    2,
  );
  if (child.exitCode !== null) throw new Error(`the sidecar of ${name} ended with ${child.exitCode}`);
  const readyMs = performance.now() - begun;
  const stop = async (signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM') => {
    child.kill(signal);
    await ended;
  };
  return { id, process: child, inbound, outbound, readyMs, stop };
}
