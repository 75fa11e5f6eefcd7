import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { systemClock } from '#runtime/clock.ts';
import type { Address } from '#runtime/config.ts';
import { type KubectlOptions, kubectlArguments, kubectlFailed, kubectlProgram } from './kubectl.ts';

/** A port of this machine that leads to one of a pod, for as long as it is held. */
interface PortForward extends AsyncDisposable {
  readonly address: Address;
}

const startMsMax = 30_000;
const linePattern = /^Forwarding from (127\.0\.0\.1):(\d+) -> \d+$/;

/**
 * Starts `kubectl port-forward` to a pod, at any free port. It ends with this process, also when that is interrupted.
 * @throws CellmeshError `kubectl_failed` with its words
 */
export async function startPortForward(options: KubectlOptions, pod: string, port: number): Promise<PortForward> {
  const args = ['port-forward', '--address=127.0.0.1', `pod/${pod}`, `:${port}`];
  const { child, release } = startedForUs(() =>
    spawn(kubectlProgram(), kubectlArguments(options, args), {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.signal !== undefined && { signal: options.signal }),
    }),
  );
  const end = async () => {
    await ended(child);
    release();
  };
  try {
    return { address: await forwardedAddress(child, args), [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}

function forwardedAddress(child: ChildProcess, args: readonly string[]): Promise<Address> {
  return new Promise((resolve, reject) => {
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const timer = systemClock.schedule(startMsMax, () =>
      reject(kubectlFailed(args, `${stderr}\nit takes longer than ${startMsMax} ms`)),
    );
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const [, host, port] = linePattern.exec(line) ?? [];
      if (host === undefined) return;
      timer.cancel();
      resolve({ host, port: Number(port) });
    });
    child.once('error', (error) => reject(kubectlFailed(args, stderr, error)));
    child.once('close', () => {
      timer.cancel();
      reject(kubectlFailed(args, stderr));
    });
  });
}

/** A child goes on when its parent is killed by a signal: what ends us ends the children first, and us then as it would have. */
const running = new Set<ChildProcess>();
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Signals are heard before there is a child that one of them could leave behind. */
function startedForUs(start: () => ChildProcess): { readonly child: ChildProcess; release(): void } {
  if (running.size === 0) {
    process.on('exit', endAll);
    for (const signal of signals) process.on(signal, onSignal);
  }
  const child = start();
  running.add(child);
  const release = () => {
    running.delete(child);
    if (running.size === 0) letGo();
  };
  return { child, release };
}

function endAll(): void {
  for (const child of running) child.kill();
}

/** A second signal, while children take their time, ends us at once. */
function onSignal(signal: NodeJS.Signals): void {
  letGo();
  void Promise.all([...running].map(ended)).then(() => process.kill(process.pid, signal));
}

function letGo(): void {
  process.off('exit', endAll);
  for (const signal of signals) process.off(signal, onSignal);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill();
  await exit;
}
