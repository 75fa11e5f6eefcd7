import { CellmeshError } from '#runtime/errors.ts';

/** Each way to break HTTP that the parsers tell apart, with the status that a client gets for it. */
const wireRules = {
  // request line and status line
  request_line: 400,
  method: 400,
  target_bytes: 400,
  target_form: 400,
  authority: 400,
  version: 505,
  status_line: 400,
  // field lines
  bare_cr: 400,
  bare_lf: 400,
  field_name: 400,
  field_fold: 400,
  field_value: 400,
  // what single fields say
  host_missing: 400,
  host_repeated: 400,
  host_differs: 400,
  content_length: 400,
  content_length_repeated: 400,
  transfer_encoding: 400,
  length_and_encoding: 400,
  connection_nominates: 400,
  connect_body: 400,
  pseudo_field: 400,
  connection_field: 400,
  expectation: 417,
  upgrade: 400,
  protocol: 501,
  // body
  chunk_size: 400,
  chunk_extension: 400,
  chunk_end: 400,
  trailer: 400,
  // responses only
  interim_responses: 400,
  unexpected_switch: 400,
  // limits
  request_line_size: 414,
  field_line_size: 431,
  fields_count: 431,
  head_size: 431,
  trailer_size: 431,
  body_size: 413,
  head_timeout: 408,
  body_timeout: 408,
} as const;

type WireRule = keyof typeof wireRules;

type WireErrorCode =
  | 'message_malformed'
  | 'message_too_large'
  | 'message_timeout'
  | 'upstream_unreachable'
  | 'upstream_failed'
  | 'upstream_malformed'
  | 'upstream_timeout'
  | 'upstream_overloaded'
  | 'exchange_aborted';

const statusOfCode: Record<WireErrorCode, number> = {
  message_malformed: 400,
  message_too_large: 413,
  message_timeout: 408,
  upstream_unreachable: 503,
  upstream_failed: 502,
  upstream_malformed: 502,
  upstream_timeout: 504,
  upstream_overloaded: 503,
  exchange_aborted: 499,
};

interface WireErrorOptions {
  rule?: WireRule;
  status?: number;
  cause?: unknown;
  retryable?: boolean;
}

/**
 * What a peer did to an exchange. `status` is what the other side of a proxy is told when nothing has been sent yet;
 * `exchange_aborted` (499) is told to nobody: the client has gone.
 */
export class WireError extends CellmeshError {
  declare readonly code: WireErrorCode;
  readonly status: number;
  readonly rule: WireRule | undefined;

  constructor(code: WireErrorCode, message: string, options: WireErrorOptions = {}) {
    super(code, message, {
      ...(options.cause === undefined ? {} : { cause: options.cause }),
      retryable: options.retryable ?? false,
    });
    this.name = 'WireError';
    this.status = options.status ?? statusOfCode[code];
    this.rule = options.rule;
  }
}

/** A peer broke `rule`. `detail` names the finding without repeating the peer's bytes. */
export function ruleBroken(rule: WireRule, detail: string): WireError {
  const status = wireRules[rule];
  return new WireError(codeOf(status), `${rule}: ${detail}`, { rule, status });
}

function codeOf(status: number): WireErrorCode {
  if (status === 408) return 'message_timeout';
  return status === 413 || status === 414 || status === 431 ? 'message_too_large' : 'message_malformed';
}

/** The same finding in a response: not the client's fault, so the client is told 502. */
export function asUpstreamFault(error: WireError): WireError {
  if (error.rule === undefined) return error;
  return new WireError('upstream_malformed', `the upstream's response breaks HTTP: ${error.message}`, {
    rule: error.rule,
    cause: error,
  });
}
