import { CellmeshError } from '#runtime/errors.ts';
import { numberAt, textAt } from './json.ts';

const messageCharsMax = 500;
/** The same call may succeed later; a 409 may too, but not unchanged. */
const retryableStatuses: readonly number[] = [429, 500, 502, 503, 504];

/** What the API server refused: its `Status` (meta/v1), as far as programs react to it. */
export class KubernetesError extends CellmeshError {
  /** Of HTTP. */
  readonly status: number;
  /** `NotFound`, `Forbidden`, `Conflict`, `Expired`, ...; empty where the server named none. */
  readonly reason: string;

  /** How long the server wants to be left alone, where it says so (RFC 9110 10.2.3, in seconds). */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, reason: string, message: string, retryAfterMs?: number) {
    super('kubernetes_refused', message, { retryable: retryableStatuses.includes(status) });
    this.name = 'KubernetesError';
    this.retryAfterMs = retryAfterMs;
    this.status = status;
    this.reason = reason;
  }

  /** A resourceVersion or continue token is older than what the server remembers: list again. */
  get isExpired(): boolean {
    return this.status === 410;
  }

  /** There is such an object already, or it has changed meanwhile, or others own its fields. */
  get isConflict(): boolean {
    return this.status === 409;
  }

  get isNotFound(): boolean {
    return this.status === 404;
  }
}

/** @param body a parsed `Status`, or anything else that came with a status of HTTP */
export function refusalOf(status: number, body: unknown, retryAfterMs?: number): KubernetesError {
  const reason = textAt(body, 'reason') ?? '';
  const message = (textAt(body, 'message') ?? `it answers ${status}`).slice(0, messageCharsMax);
  const code = numberAt(body, 'code') ?? status;
  return new KubernetesError(code, reason, `the API server: ${message}`, retryAfterMs);
}

/** No answer, or none that can be read. */
export function unavailable(reason: string, cause?: unknown): CellmeshError {
  return new CellmeshError('kubernetes_unavailable', `the API server does not answer: ${reason}`, {
    cause,
    retryable: true,
  });
}
