import { type Command, InvalidArgumentError } from 'commander';
import { systemClock } from '#runtime/clock.ts';
import { planInstallation, portBaseDefault, stateDirDefault } from '../installation.ts';
import { stopRequested } from '../stop-signal.ts';
import { describeCell } from './banner.ts';
import { followDecisions } from './follow.ts';
import { openStateDirectory } from './open-state.ts';
import { Progress } from './progress.ts';
import { startCell } from './start-cell.ts';

interface UpOptions {
  readonly state: string;
  readonly fresh: boolean;
  readonly portBase?: number;
  readonly json?: boolean;
}

/** A whole cell on one machine, in the foreground. */
export function addUp(program: Command): void {
  program
    .command('up')
    .summary('run a whole cell on this machine, with a small application to try')
    .description(
      'Runs a whole cell in the foreground: identity, router, control plane, and an application of five services that speak HTTP, gRPC and a TCP protocol of their own, each behind its own sidecar; all separate processes. A second start takes up the state of the first. Ctrl-C ends everything.',
    )
    .option('--state <dir>', 'where everything lies', process.env['CELLMESH_STATE'] ?? stateDirDefault)
    .option('--fresh', 'begin anew: removes the state directory first', false)
    .option(
      '--port-base <number>',
      `first port; all others follow from it (default: ${portBaseDefault}, or the one the state was made with)`,
      portBase,
    )
    .option('--json', 'print decisions as JSON lines')
    .action(up);
}

async function up(options: UpOptions): Promise<void> {
  const stop = stopRequested({ untilStdinEnds: false });
  const installation = await openStateDirectory(options, (portBase) => planInstallation(options.state, portBase));
  const progress = new Progress(process.stderr, systemClock);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => progress.say('Everything has ended.'));
  const starting = startCell(installation, progress, stack);
  const isStopped = stop.then(() => 'stopped' as const);
  const started = await Promise.race([starting, isStopped]);
  if (started === 'stopped') {
    // What is being started notices that its processes end.
    starting.catch(() => {});
    progress.say('Stopping before everything has started ...');
    return;
  }
  progress.say(describeCell(installation, started));
  stack.use(followDecisions(installation, options));
  await stop;
  progress.say('\nStopping: requests in flight may finish ...');
}

function portBase(text: string): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number < 1024 || number > 65_000) throw new InvalidArgumentError('a number from 1024 to 65000 is expected.');
  return number;
}
