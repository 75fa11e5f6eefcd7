import { Secret } from '#runtime/secret.ts';

export interface BasicCredentials {
  readonly user: string;
  readonly password: Secret<string>;
}

/** An account and a key fit into 150 bytes; nobody needs more. */
const authorizationBytesMax = 512;
const pattern = /^[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+={0,2})$/;
const printable = /^[\x21-\x7e]+$/;

/**
 * Reads `Authorization: Basic` (RFC 7617): strict base64, printable ASCII, split at the first colon.
 * Undefined for anything else: a wrong header and a wrong password get the same answer.
 */
export function parseBasicCredentials(header: string): BasicCredentials | undefined {
  if (header.length > authorizationBytesMax) return undefined;
  const encoded = pattern.exec(header)?.[1];
  if (encoded === undefined || encoded.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  // Node reads what it can and skips the rest; only what is written back the same was base64.
  if (bytes.toString('base64') !== encoded) return undefined;
  const text = bytes.toString('latin1');
  const colon = text.indexOf(':');
  if (colon <= 0 || !printable.test(text)) return undefined;
  return { user: text.slice(0, colon), password: new Secret(text.slice(colon + 1)) };
}
