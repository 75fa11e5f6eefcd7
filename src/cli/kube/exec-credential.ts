import { createSecureContext } from 'node:tls';
import type { Credentials } from '#kubernetes/credential-source.ts';
import { textAt, valueAt } from '#kubernetes/json.ts';
import { isBearerToken } from '#kubernetes/kubeconfig-reader.ts';
import { Secret } from '#runtime/secret.ts';

/** Credentials, and until when they are good. */
export interface MadeCredentials extends Credentials {
  /** Milliseconds since the epoch; absent: while this process runs. */
  readonly expiresAtMs?: number;
}

/** A token or a certificate with its chain have some kilobytes. */
export const execCredentialBytesMax = 256 * 1024;
/** RFC 3339 5.6, as Go writes it. */
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

/**
 * Reads what a credential plugin has printed: an ExecCredential of exactly the version that it was asked for.
 * @throws Error that says what is wrong with it, and shows nothing of it
 */
export function readExecCredential(text: string, apiVersion: string): MadeCredentials {
  if (Buffer.byteLength(text) > execCredentialBytesMax) throw new Error(`more than ${execCredentialBytesMax} bytes`);
  const document = parsed(text);
  if (textAt(document, 'kind') !== 'ExecCredential') throw new Error('no ExecCredential');
  if (textAt(document, 'apiVersion') !== apiVersion) throw new Error(`an ExecCredential that is not of ${apiVersion}`);
  const token = statusText(document, 'token');
  if (token !== undefined && !isBearerToken(token)) throw new Error('a `token` that is no bearer token');
  const certificate = certificateOf(document);
  if (token === undefined && certificate === undefined)
    throw new Error('an ExecCredential without a token and without a client certificate');
  const expires = statusText(document, 'expirationTimestamp');
  const expiresAtMs = expires === undefined ? undefined : Date.parse(expires);
  if (expires !== undefined && !(timePattern.test(expires) && Number.isFinite(expiresAtMs)))
    throw new Error('an `expirationTimestamp` that is no time of RFC 3339');
  return {
    ...(token !== undefined && { token: new Secret(token) }),
    ...(certificate !== undefined && { certificate }),
    ...(expiresAtMs !== undefined && { expiresAtMs }),
  };
}

/** The parser's own errors show the text around. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('no JSON');
  }
}

/** As Go reads it: null and '' are as if it were not there. */
function statusText(document: unknown, name: string): string | undefined {
  const value = valueAt(document, 'status', name) ?? '';
  if (typeof value !== 'string') throw new Error(`a \`${name}\` that is no text`);
  return value === '' ? undefined : value;
}

function certificateOf(document: unknown): Credentials['certificate'] {
  const cert = statusText(document, 'clientCertificateData');
  const key = statusText(document, 'clientKeyData');
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined)
    throw new Error('one of `clientCertificateData` and `clientKeyData` without the other');
  try {
    createSecureContext({ cert, key });
  } catch {
    throw new Error('`clientCertificateData` and `clientKeyData` that are no certificate with its key');
  }
  return { chain: cert, key: new Secret(key) };
}
