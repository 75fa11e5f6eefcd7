import { type ChildProcess, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { eventually } from './eventually.ts';

/** The command of this checkout. */
export const launcher = resolve(import.meta.dirname, '../../cellmesh');

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `./cellmesh` to its end, as a user does. */
export async function runCommand(
  args: readonly string[],
  input = '',
  environment: Readonly<Record<string, string>> = {},
  command = launcher,
): Promise<CommandResult> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
  child.stdin.end(input);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await ended, stdout, stderr };
}

/** `cellmesh up`, running. */
export interface RunningUp extends AsyncDisposable {
  readonly process: ChildProcess;
  readonly stateDir: string;
  readonly portBase: number;
  /** What it has printed so far, on both outputs. */
  readonly output: () => string;
  /** Lines of decisions so far. */
  readonly decisions: () => readonly string[];
  /** By the name that the table shows. */
  pidOf(name: string): number;
  /** Another command on the same state. */
  run(...args: readonly string[]): Promise<CommandResult>;
  /** Its standard output as JSON. */
  json(...args: readonly string[]): Promise<unknown>;
  /** As Ctrl-C does; resolves to the exit code. */
  interrupt(): Promise<number | null>;
}

/** Below the range from which systems take ports for outgoing connections. */
const portBases = { first: 15_000, step: 500, count: 30 };
const tries = 5;

export interface UpOptions {
  readonly portBase?: number;
  /** Beside this process's own; every process that `up` starts has it too. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Default: that of this checkout. */
  readonly command?: string;
}

/** Starts `cellmesh up` on free ports and waits until it says what runs where. */
export async function startUp(
  stateDir: string,
  { portBase: known, environment = {}, command = launcher }: UpOptions = {},
): Promise<RunningUp> {
  for (let attempt = 1; ; attempt++) {
    const portBase = known ?? portBases.first + portBases.step * Math.floor(Math.random() * portBases.count);
    const up = launch(stateDir, portBase, environment, command);
    try {
      await eventually(() => {
        if (up.process.exitCode !== null) throw new Ended(up.output());
        if (!up.output().includes('Decisions follow')) throw new Error(up.output());
      }, 60_000);
      return up;
    } catch (error) {
      await up[Symbol.asyncDispose]();
      if (attempt === tries || !(error instanceof Ended) || !error.message.includes('port_taken')) throw error;
    }
  }
}

class Ended extends Error {}

function launch(stateDir: string, portBase: number, environment: UpOptions['environment'], command: string): RunningUp {
  const args = ['up', '--state', stateDir, '--port-base', String(portBase)];
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const run = (...rest: readonly string[]) => runCommand([...rest, '--state', stateDir], '', environment, command);
  return {
    process: child,
    stateDir,
    portBase,
    output: () => stderr + stdout,
    decisions: () => stdout.split('\n').filter((line) => line !== ''),
    pidOf: (name) => Number(new RegExp(`^ *${name} +(\\d+) `, 'm').exec(stderr)?.[1]),
    run,
    async json(...rest) {
      const { code, stdout: printed, stderr: said } = await run(...rest, '--json');
      if (code !== 0) throw new Error(`exit code ${code}: ${said}`);
      return JSON.parse(printed);
    },
    interrupt() {
      child.kill('SIGINT');
      return ended;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGINT');
      await ended;
    },
  };
}

/** Whether a process is there. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export const edgeAuthorityOf = (stateDir: string): string => join(stateDir, 'edge', 'authority.pem');
