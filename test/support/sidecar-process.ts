import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { sidecarState } from './admin-socket.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { type HeapCensus, takeHeapCensus } from './heap-census.ts';
import { openSockets } from './open-sockets.ts';

const launcher = resolve(import.meta.dirname, '../../cellmesh');
/** An inspector of V8 on any free port of loopback, asleep until somebody connects. */
const inspectorFlag = '--inspect=127.0.0.1:0';

/** A sidecar as `./cellmesh sidecar` starts it, on free ports of 127.0.0.1. It ends with this process at the latest. */
export interface SidecarProcess extends AsyncDisposable {
  readonly id: SpiffeId;
  readonly pid: number;
  readonly stateDir: string;
  /** Ports of mutual TLS, of the application's calls, of health and metrics. */
  readonly inbound: number;
  readonly outbound: number;
  readonly health: number;
  /** From its start to `/readyz`. */
  readonly readyMs: number;
  /** What it has written to standard error so far. */
  readonly log: () => string;
  /** Counts of what is open and kept, from its admin socket. */
  counts(): Promise<Readonly<Record<string, number>>>;
  /** Sockets that the process holds, listeners too (`open-sockets.ts`). */
  sockets(): number;
  /** What is left on its heap after a collection. */
  heap(): Promise<HeapCensus>;
  /** Resolves to how long it took to end, in milliseconds. What is still in flight makes SIGTERM wait for `--drain`. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<number>;
}

export interface SidecarProcessOptions {
  readonly id: SpiffeId;
  /** Made here where it is not there. */
  readonly stateDir: string;
  /** Settings without dashes, by the names of docs/operations.md. */
  readonly flags: Readonly<Record<string, string>>;
  /** As `CELLMESH_NODE_FLAGS` gives them, and then what it says goes to this process's standard output. Default: an inspector. */
  readonly nodeFlags?: string | undefined;
}

/** Resolves when it is ready. */
export async function startSidecarProcess(options: SidecarProcessOptions): Promise<SidecarProcess> {
  const { id, stateDir, nodeFlags } = options;
  const [inbound, outbound, health] = [await freePort(), await freePort(), await freePort()];
  const flags = {
    'state-dir': stateDir,
    inbound: `127.0.0.1:${inbound}`,
    outbound: `127.0.0.1:${outbound}`,
    health: `127.0.0.1:${health}`,
    'pod-addresses': '127.0.0.3',
    'log-level': 'error',
    settle: '50ms',
    ...options.flags,
  };
  await mkdir(stateDir, { mode: 0o700, recursive: true });
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
  const begun = performance.now();
  const child = spawn(launcher, ['sidecar', '--until-stdin-ends', ...args], {
    env: { ...process.env, CELLMESH_NODE_FLAGS: nodeFlags ?? inspectorFlag },
    stdio: ['pipe', nodeFlags === undefined ? 'ignore' : 'inherit', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const closed = once(child, 'close');
  const stop = async (signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM') => {
    const began = performance.now();
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await closed;
    return performance.now() - began;
  };
  await using starting = new AsyncDisposableStack();
  starting.defer(async () => void (await stop()));
  await eventually(
    async () => {
      if (child.exitCode !== null) return;
      const response = await fetch(`http://127.0.0.1:${health}/readyz`);
      const { reasons } = (await response.json()) as { reasons: readonly string[] };
      if (reasons.length > 0) throw new Error(`${reasons.join('; ')}\n${log}`);
    },
    30_000,
    2,
  );
  if (child.exitCode !== null) throw new Error(`the sidecar ended with ${child.exitCode}: ${log}`);
  const readyMs = performance.now() - begun;
  starting.move();
  const pid = child.pid!;
  return {
    ...{ id, pid, stateDir, inbound, outbound, health, readyMs, stop },
    log: () => log,
    counts: async () => (await sidecarState(stateDir))['requests'] as Record<string, number>,
    sockets: () => openSockets(pid),
    heap: () => takeHeapCensus(/ws:\/\/\S+/.exec(log)![0]),
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}
