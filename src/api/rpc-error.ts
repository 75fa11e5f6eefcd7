import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { type ErrorCode, errorCodes } from '#runtime/error-codes.ts';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';

/** The one place where our errors become gRPC statuses, and come back as our errors. */
const codeKey = 'cellmesh-error';

const statusOf: Partial<Record<ErrorCode, status>> = {
  rpc_denied: status.PERMISSION_DENIED,
  rpc_rate_limited: status.RESOURCE_EXHAUSTED,
  rpc_unavailable: status.UNAVAILABLE,
  join_token_rejected: status.UNAUTHENTICATED,
  attestation_rejected: status.UNAUTHENTICATED,
  not_found: status.NOT_FOUND,
  conflict: status.ABORTED,
};

/** What a caller is told: code and message of a typed error; of any other only that it is one. */
export function toServiceError(error: unknown): Partial<ServiceError> & { code: status } {
  if (!isCellmeshError(error))
    return { code: status.INTERNAL, details: 'internal error', metadata: withCode('rpc_internal') };
  const code = statusOf[error.code] ?? (error.retryable ? status.UNAVAILABLE : status.FAILED_PRECONDITION);
  return { code, details: error.message, metadata: withCode(error.code) };
}

export function fromServiceError(error: unknown): CellmeshError {
  const { code, details, metadata } = error as Partial<ServiceError>;
  const named = metadata?.get(codeKey)[0]?.toString();
  const retryable =
    code === status.UNAVAILABLE ||
    code === status.DEADLINE_EXCEEDED ||
    code === status.CANCELLED ||
    code === status.RESOURCE_EXHAUSTED;
  if (named !== undefined && Object.hasOwn(errorCodes, named)) {
    return new CellmeshError(named as ErrorCode, details ?? named, { cause: error, retryable });
  }
  const text = details ?? (error instanceof Error ? error.message : String(error));
  return new CellmeshError(retryable ? 'rpc_unavailable' : 'rpc_internal', text, { cause: error, retryable });
}

function withCode(code: ErrorCode): Metadata {
  const metadata = new Metadata();
  metadata.set(codeKey, code);
  return metadata;
}
