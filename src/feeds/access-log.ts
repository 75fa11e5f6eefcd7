import type { Writable } from 'node:stream';

/** What may wait for a slow reader of the log. Beyond it lines are dropped and counted: a stuck pipe must not stop requests. */
export const accessLogBytesMax = 1024 * 1024;

/**
 * JSON lines to a stream, joined into one write after the turn of the event loop that made them: a write per request is a system call per
 * request, and rows that log from inside the request's turn showed stalls of 50 to 100 ms (DATAPATH.md A).
 */
export class AccessLog {
  readonly #stream: Writable;
  #pending = '';
  #dropped = 0;

  constructor(stream: Writable) {
    this.#stream = stream;
    // A log whose reader has gone (EPIPE) is no reason to end: lines are then dropped by the check of `writable`.
    stream.on('error', () => {});
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** Takes one line without its newline. Never waits, never throws. */
  append(line: string): void {
    const waiting = this.#pending.length + this.#stream.writableLength;
    if (!this.#stream.writable || waiting + line.length + 1 > accessLogBytesMax) {
      this.#dropped++;
      return;
    }
    if (this.#pending === '') setImmediate(() => this.flush());
    this.#pending += `${line}\n`;
  }

  flush(): void {
    const text = this.#pending;
    this.#pending = '';
    if (text !== '') this.#stream.write(text);
  }
}
