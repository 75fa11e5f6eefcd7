import { CellmeshError, messageOf } from './errors.ts';
import type { Logger } from './logger.ts';
import { type Watch, WatchSource } from './watch.ts';

/** What a process is doing. Readiness is `serving` with no condition left. */
type Phase =
  | { readonly tag: 'starting' }
  | { readonly tag: 'serving' }
  | { readonly tag: 'draining' }
  | { readonly tag: 'stopped' };

interface Part {
  readonly name: string;
  start?(signal: AbortSignal): Promise<void> | void;
  /** Stop taking new work and let what is in flight finish. */
  drain?(): Promise<void> | void;
  stop?(): Promise<void> | void;
}

/**
 * Starts parts in order, stops them in the opposite order, and knows whether the process is ready. A part that fails to start
 * stops those before it. Conditions keep a serving process unready with a reason ("no SVID yet", "inbound_open").
 */
export class Lifecycle implements AsyncDisposable {
  readonly #parts: Part[] = [];
  readonly #started: Part[] = [];
  readonly #phase = new WatchSource<Phase>({ tag: 'starting' });
  readonly #conditions = new Map<string, string>();
  readonly #logger: Logger;
  readonly #abort = new AbortController();
  #stopping: Promise<void> | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get phase(): Watch<Phase> {
    return this.#phase;
  }

  /** Aborted when the process begins to stop. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  add(part: Part): void {
    this.#parts.push(part);
  }

  /** Marks the process unready for `reason` until `clearCondition(name)`. */
  setCondition(name: string, reason: string): void {
    if (this.#conditions.get(name) !== reason) this.#logger.warn('not ready', { condition: name, reason });
    this.#conditions.set(name, reason);
  }

  clearCondition(name: string): void {
    if (this.#conditions.delete(name)) this.#logger.info('condition cleared', { condition: name });
  }

  /** Reasons why the process is not ready; empty when it is. */
  notReady(): readonly string[] {
    const phase = this.#phase.current.tag;
    const reasons = [...this.#conditions].map(([name, reason]) => `${name}: ${reason}`);
    return phase === 'serving' ? reasons : [phase, ...reasons];
  }

  async start(): Promise<void> {
    for (const part of this.#parts) {
      try {
        await part.start?.(this.#abort.signal);
        this.#started.push(part);
      } catch (cause) {
        await this.stop();
        if (cause instanceof CellmeshError) throw cause;
        throw new CellmeshError('start_failed', `${part.name} did not start: ${messageOf(cause)}`, { cause });
      }
    }
    this.#phase.set({ tag: 'serving' });
  }

  /** Drains, then stops everything that was started, last first. Safe to call twice. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopNow();
    return this.#stopping;
  }

  async #stopNow(): Promise<void> {
    this.#phase.set({ tag: 'draining' });
    const parts = this.#started.toReversed();
    for (const part of parts) await this.#settle(part.name, 'drain', () => part.drain?.());
    this.#abort.abort(new Error('stopping'));
    for (const part of parts) await this.#settle(part.name, 'stop', () => part.stop?.());
    this.#phase.set({ tag: 'stopped' });
  }

  async #settle(name: string, step: string, run: () => Promise<void> | void): Promise<void> {
    try {
      await run();
    } catch (error) {
      this.#logger.error('a part did not end cleanly', { part: name, step, error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
