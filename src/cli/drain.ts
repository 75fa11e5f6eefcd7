import { join } from 'node:path';
import type { Command } from 'commander';
import { Agent, fetch } from 'undici';
import { environmentNameOf } from '#runtime/config.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type OutputOptions, print } from './output.ts';

interface DrainOptions extends OutputOptions {
  readonly stateDir?: string;
  readonly adminSocket?: string;
}

/** For the preStop hook of a native sidecar: its application still runs, and SIGTERM comes when that has ended. */
export function addDrain(program: Command): void {
  program
    .command('drain')
    .summary('let a sidecar finish what it serves, before it is stopped')
    .description(
      "Tells a sidecar of this machine that its pod goes away. It is not ready any more, callers choose other instances, and requests in flight end; calls of the application go on. Returns when that is done: for a native sidecar's preStop hook. The sidecar itself ends with SIGTERM.",
    )
    .option('--state-dir <dir>', "the sidecar's state directory", process.env[environmentNameOf('stateDir')])
    .option(
      '--admin-socket <path>',
      'its admin socket, where it is elsewhere',
      process.env[environmentNameOf('adminSocket')],
    )
    .option('--json', 'print JSON')
    .action(async (options: DrainOptions) => {
      const startedAt = performance.now();
      await ask(socketOf(options));
      const tookMs = Math.round(performance.now() - startedAt);
      print(
        { drained: true, tookMs },
        () => `drained in ${(tookMs / 1000).toFixed(1)} s; the sidecar serves its application until SIGTERM`,
        options,
      );
    });
}

function socketOf({ stateDir, adminSocket }: DrainOptions): string {
  if (adminSocket !== undefined) return adminSocket;
  if (stateDir !== undefined) return join(stateDir, 'admin', 'sidecar.sock');
  throw new CellmeshError('config_invalid', 'which sidecar? Set --state-dir, or --admin-socket');
}

async function ask(socketPath: string): Promise<void> {
  // However long requests in flight may take: that is for the sidecar's own settings to say.
  const dispatcher = new Agent({ connect: { socketPath }, headersTimeout: 0 });
  try {
    const response = await fetch('http://sidecar/drain', { method: 'POST', dispatcher });
    if (!response.ok) throw new Error(`it answered ${response.status}`);
  } catch (cause) {
    const reason = cause instanceof Error && cause.cause !== undefined ? messageOf(cause.cause) : messageOf(cause);
    throw new CellmeshError('dial_failed', `no sidecar could be asked at ${socketPath}: ${reason}`, { cause });
  } finally {
    await dispatcher.close();
  }
}
