import { fieldIds } from './field-names.ts';
import type { Fields } from './message.ts';
import type { GeneratedResponse } from './respond.ts';

const { 'content-type': typeId, 'grpc-timeout': timeoutId } = fieldIds;

/**
 * gRPC on HTTP/2 (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): what an intermediary has to know of it. Statuses travel in trailers
 * behind a 200, so that answers of our own have to look like that too, or clients see a broken transport in place of a refusal.
 */
export function isGrpc(request: Pick<Fields, 'fieldById'>): boolean {
  return request.fieldById(typeId)?.startsWith('application/grpc') === true;
}

/** Codes of gRPC for our own statuses; anything else is UNKNOWN. */
const codes: Readonly<Record<number, number>> = {
  400: 13, // INTERNAL
  401: 16, // UNAUTHENTICATED
  403: 7, // PERMISSION_DENIED
  404: 12, // UNIMPLEMENTED
  408: 4, // DEADLINE_EXCEEDED
  413: 8, // RESOURCE_EXHAUSTED
  414: 8,
  421: 14, // UNAVAILABLE
  429: 8,
  431: 8,
  499: 1, // CANCELLED
  500: 13,
  502: 14,
  503: 14,
  504: 4,
};
const unknown = 2;

/** Fields with `grpc-status` and `grpc-message`: a whole answer as one head ("Trailers-Only"). */
export function grpcFields({ status, fields = {}, body = '' }: GeneratedResponse): GeneratedResponse['fields'] {
  return {
    ...fields,
    'content-type': 'application/grpc',
    'grpc-status': String(grpcCodeOf(status)),
    'grpc-message': percentEncoded(body.toString().trim()),
  };
}

/** What ends a response whose head was sent already. */
export function grpcTrailers(status: number, message: string): string {
  return `grpc-status: ${grpcCodeOf(status)}\r\ngrpc-message: ${percentEncoded(message)}\r\n`;
}

/** What field lines say how a call ended; undefined where they do not. */
export function grpcStatusIn(lines: string): number | undefined {
  const [, digits] = /(?:^|\n)grpc-status: *([0-9]{1,3})\r\n/i.exec(lines) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/** How our own answer of that status reads to a gRPC client. */
export function grpcCodeOf(status: number): number {
  return codes[status] ?? unknown;
}

const unitMillis: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** `grpc-timeout` in milliseconds; undefined where there is none or it is no time-out. */
export function grpcTimeoutMs(request: Pick<Fields, 'fieldById'>): number | undefined {
  const text = request.fieldById(timeoutId);
  if (text === undefined) return undefined;
  const [, digits, unit] = /^([0-9]{1,8})([HMSmun])$/.exec(text) ?? [];
  return digits === undefined || unit === undefined ? undefined : Number(digits) * unitMillis[unit]!;
}

function percentEncoded(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
