import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { sidecarState } from './admin-socket.ts';
import { eventually } from './eventually.ts';

const launcher = resolve(import.meta.dirname, '../../cellmesh');

/** A sidecar as users run it: `cellmesh sidecar`, a process of its own, which ends with this one at the latest. */
export interface SidecarProcess extends AsyncDisposable {
  readonly id: SpiffeId;
  readonly pid: number;
  readonly stateDir: string;
  /** Ports of mTLS and of the application's calls. */
  readonly inbound: number;
  readonly outbound: number;
  /** What it has logged so far. */
  readonly log: () => string;
  /** Counts of what is open and kept, from its admin socket. */
  counts(): Promise<Readonly<Record<string, number>>>;
}

export interface SidecarProcessOptions {
  readonly id: SpiffeId;
  /** Made here. */
  readonly stateDir: string;
  /** Settings in kebab case; inbound, outbound and health are on free ports of loopback. */
  readonly flags: Readonly<Record<string, string>>;
  /** Of Node, as `CELLMESH_NODE_FLAGS` gives them. */
  readonly nodeFlags?: string;
}

/** Starts a sidecar and waits until it is ready. */
export async function startSidecarProcess(options: SidecarProcessOptions): Promise<SidecarProcess> {
  const { id, stateDir, flags, nodeFlags = '' } = options;
  await mkdir(stateDir, { mode: 0o700 });
  const ports = { inbound: '127.0.0.1:0', outbound: '127.0.0.1:0', health: '127.0.0.1:0' };
  const settings = { ...ports, 'state-dir': stateDir, ...flags };
  const args = Object.entries(settings).flatMap(([flag, value]) => [`--${flag}`, value]);
  const child = spawn(launcher, ['sidecar', '--until-stdin-ends', ...args], {
    env: { ...process.env, CELLMESH_NODE_FLAGS: nodeFlags },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  await using starting = new AsyncDisposableStack();
  starting.defer(() => stop(child));
  const state = await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`the sidecar ended: ${log}`);
    const { notReady, ports } = await sidecarState(stateDir);
    if ((notReady as string[]).length > 0) throw new Error(`${notReady}\n${log}`);
    return { ports: ports as Record<string, number> };
  }, 20_000);
  const owned = starting.move();
  return {
    id,
    pid: child.pid!,
    stateDir,
    inbound: state.ports['inbound']!,
    outbound: state.ports['outbound']!,
    log: () => log,
    counts: async () => (await sidecarState(stateDir))['requests'] as Record<string, number>,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}
