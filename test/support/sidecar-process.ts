import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { type HeapCensus, takeHeapCensus } from './heap-census.ts';
import { openSockets } from './open-sockets.ts';

const launcher = resolve(import.meta.dirname, '../../cellmesh');

/** A sidecar as `./cellmesh sidecar` starts it, on free ports of 127.0.0.1. */
export interface SidecarProcess extends AsyncDisposable {
  readonly pid: number;
  readonly inboundPort: number;
  readonly healthPort: number;
  /** Sockets that the process holds, listeners too (`open-sockets.ts`). */
  sockets(): number;
  /** What is left on its heap after a collection. */
  heap(): Promise<HeapCensus>;
  /** SIGTERM; resolves to how long it took to end, in milliseconds. What is still in flight makes it wait for `--drain`. */
  stop(): Promise<number>;
}

/** @param given flags without dashes, by the names of docs/operations.md. Resolves when it is ready. */
export async function startSidecarProcess(given: Readonly<Record<string, string>>): Promise<SidecarProcess> {
  const [inboundPort, outbound, healthPort] = [await freePort(), await freePort(), await freePort()];
  const flags: Readonly<Record<string, string>> = {
    inbound: `127.0.0.1:${inboundPort}`,
    outbound: `127.0.0.1:${outbound}`,
    health: `127.0.0.1:${healthPort}`,
    'pod-addresses': '127.0.0.3',
    'log-level': 'error',
    settle: '50ms',
    ...given,
  };
  await mkdir(flags['state-dir']!, { mode: 0o700, recursive: true });
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
  const child = spawn(launcher, ['sidecar', '--until-stdin-ends', ...args], {
    // The inspector is asleep until somebody connects: `heap`.
    env: { ...process.env, CELLMESH_NODE_FLAGS: '--inspect=127.0.0.1:0' },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const closed = once(child, 'close');
  const stop = async () => {
    const began = performance.now();
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await closed;
    return performance.now() - began;
  };
  try {
    await eventually(async () => {
      if (child.exitCode !== null) throw new Error(`the sidecar ended with ${child.exitCode}: ${said}`);
      const { reasons } = (await (await fetch(`http://127.0.0.1:${healthPort}/readyz`)).json()) as {
        reasons: readonly string[];
      };
      if (reasons.length > 0) throw new Error(reasons.join('; '));
    }, 30_000);
  } catch (error) {
    await stop();
    throw error;
  }
  const pid = child.pid!;
  return {
    pid,
    inboundPort,
    healthPort,
    sockets: () => openSockets(pid),
    heap: () => takeHeapCensus(/ws:\/\/\S+/.exec(said)![0]),
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}
