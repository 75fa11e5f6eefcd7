import { CellmeshError } from '#runtime/errors.ts';

/** Why a token is refused; the same codes are reasons of decisions (policy/reasons.ts). */
type TokenReason =
  | 'token_malformed'
  | 'token_too_large'
  | 'token_type'
  | 'token_algorithm'
  | 'token_key_unknown'
  | 'token_signature'
  | 'token_expired'
  | 'token_not_yet_valid'
  | 'token_issuer'
  | 'token_audience'
  | 'token_cell'
  | 'token_claims';

/** Thrown by verification. The message says what is wrong with which claim; it never holds the token. */
export class TokenRejected extends CellmeshError {
  readonly reason: TokenReason;

  constructor(reason: TokenReason, message: string, cause?: unknown) {
    super('token_rejected', message, { cause });
    this.name = 'TokenRejected';
    this.reason = reason;
  }
}
