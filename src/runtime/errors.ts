import type { ErrorCode } from './error-codes.ts';

interface CellmeshErrorOptions {
  cause?: unknown;
  /** Whether the same call may succeed later without anybody changing anything. */
  retryable?: boolean;
  /** Single findings behind one error, a line each: all wrong settings, all rejected fields. */
  problems?: readonly string[];
}

/**
 * The one error class that leaves a room. `code` is what programs react to and `docs/errors.md` explains; the message is
 * one line for a person: what, why, and the next step. It never holds a secret.
 */
export class CellmeshError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly problems: readonly string[];

  constructor(code: ErrorCode, message: string, options: CellmeshErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CellmeshError';
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.problems = options.problems ?? [];
  }
}

export function isCellmeshError(error: unknown, code?: ErrorCode): error is CellmeshError {
  return error instanceof CellmeshError && (code === undefined || error.code === code);
}

/** The text of whatever was thrown, for a log line. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
