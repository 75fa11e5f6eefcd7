import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Clock, sleep } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';

export interface ProcessSpec {
  /** `api sidecar`: for people. */
  readonly name: string;
  /** Arguments of Node. */
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly logFile: string;
}

interface ProcessEvents {
  /** A warning or an error that the process logged, or its last words. */
  readonly onWarning: (name: string, text: string) => void;
  readonly onRestart: (name: string, reason: string) => void;
}

/** A request in flight has ten seconds to end; whoever takes longer is not going to. */
const stopMsMax = 15_000;
const pollMs = 50;
const restartMsMin = 500;
const restartMsMax = 10_000;
/** After this long a process counts as well: its next restart is quick again. */
const wellAfterMs = 30_000;

/**
 * One child process: its log goes to a file, it is started again when it ends by itself, and it ends when this process does, however that ends:
 * its standard input is a pipe from here.
 */
export class SupervisedProcess {
  readonly spec: ProcessSpec;
  readonly #events: ProcessEvents;
  readonly #clock: Clock;
  readonly #log: WriteStream;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #lastLine = '';
  #restarts = 0;
  #startedAt = 0;
  #isStopping = false;
  #isSettled = false;
  #endedEarly: CellmeshError | undefined;

  constructor(spec: ProcessSpec, events: ProcessEvents, clock: Clock) {
    this.spec = spec;
    this.#events = events;
    this.#clock = clock;
    this.#log = createWriteStream(spec.logFile, { flags: 'a', mode: 0o600 });
    this.#log.on('error', (error) => events.onWarning(spec.name, `its log cannot be written: ${error.message}`));
    this.#start();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Resolves when `isReady` says so. From then on the process is restarted when it ends.
   * @throws CellmeshError `start_failed`: it ended before, with its last words; or it is not ready in time, with what it waits for
   */
  async whenReady(isReady: () => Promise<string | undefined>, timeoutMs: number): Promise<void> {
    const until = this.#clock.monotonic() + timeoutMs;
    for (;;) {
      if (this.#endedEarly !== undefined) throw this.#endedEarly;
      const waitsFor = await isReady();
      if (waitsFor === undefined) {
        this.#isSettled = true;
        return;
      }
      if (this.#clock.monotonic() > until) {
        throw new CellmeshError(
          'start_failed',
          `${this.spec.name} is not ready after ${timeoutMs / 1000} s: ${waitsFor}; its log is ${this.spec.logFile}`,
        );
      }
      await sleep(this.#clock, pollMs);
    }
  }

  /** Asks it to end, and ends it when it does not. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const child = this.#child;
    child?.kill('SIGTERM');
    const killing = this.#clock.schedule(stopMsMax, () => child?.kill('SIGKILL'));
    await this.#exited;
    killing.cancel();
    await new Promise<void>((resolve) => this.#log.end(resolve));
  }

  kill(): void {
    this.#isStopping = true;
    this.#child?.kill('SIGKILL');
  }

  #start(): void {
    const { args, environment } = this.spec;
    this.#startedAt = this.#clock.monotonic();
    // A process group of its own: Ctrl-C is for us, and we end the others in order.
    const child = spawn(process.execPath, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, ...environment },
    });
    this.#child = child;
    child.stdin.on('error', () => {});
    child.stdout.on('data', (chunk) => this.#log.write(chunk));
    createInterface({ input: child.stderr }).on('line', (line) => this.#onLine(line));
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => this.#onEnd(error.message, resolve));
      child.once('close', (code, signal) => this.#onEnd(signal ?? `exit code ${code}`, resolve));
    });
  }

  #onLine(line: string): void {
    this.#log.write(`${line}\n`);
    const { level, message, reason, error, time: _, role: _role, ...fields } = parseLine(line);
    if (level === undefined) this.#lastLine = line;
    // What is missing while everything starts is said by whoever waits for it.
    if (!this.#isSettled || this.#isStopping || (level !== 'warn' && level !== 'error')) return;
    const why = reason ?? (error as { message?: unknown } | undefined)?.message;
    const rest = Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`);
    this.#events.onWarning(this.spec.name, [`${message}${why === undefined ? '' : `: ${why}`}`, ...rest].join(' '));
  }

  #onEnd(reason: string, resolve: () => void): void {
    const words = this.#lastLine.replace(/^cellmesh: /, '') || reason;
    if (this.#isStopping) return resolve();
    if (!this.#isSettled) {
      this.#endedEarly = new CellmeshError('start_failed', `${this.spec.name} did not start: ${words}`);
      return resolve();
    }
    if (this.#clock.monotonic() - this.#startedAt > wellAfterMs) this.#restarts = 0;
    const pauseMs = Math.min(restartMsMax, restartMsMin * 2 ** this.#restarts++);
    this.#events.onRestart(this.spec.name, `ended (${reason}); starts again in ${pauseMs / 1000} s`);
    this.#clock.schedule(pauseMs, () => {
      if (!this.#isStopping) this.#start();
    });
    return resolve();
  }
}

interface LogLine {
  readonly [field: string]: unknown;
  readonly level?: unknown;
  readonly message?: unknown;
  readonly reason?: unknown;
  readonly error?: unknown;
}

function parseLine(line: string): LogLine {
  try {
    return Object(JSON.parse(line)) as LogLine;
  } catch {
    return {};
  }
}
