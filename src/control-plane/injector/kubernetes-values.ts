import { isIP } from 'node:net';
import { parsed, type Setting } from '#runtime/config.ts';

/** An image by name, tag or digest. */
export function image(doc: string): Setting<string> {
  return parsed(doc, 'IMAGE', (text) =>
    /^[a-z0-9][\w.:@/-]{0,511}$/i.test(text) ? text : fail('must be the name of an image'),
  );
}

/** An amount of memory or CPU as Kubernetes writes it. */
export function quantity(doc: string, fallback?: string): Setting<string> {
  const parse = (text: string) =>
    /^\d{1,12}(\.\d{1,9})?(m|[kMGT]|[KMGT]i)?$/.test(text) ? text : fail('must be an amount: 100m, 0.5, 128Mi');
  return parsed(doc, 'QUANTITY', parse, fallback);
}

/** `8080,9090`. */
export function portList(doc: string): Setting<readonly number[]> {
  return parsed<readonly number[]>(doc, 'PORT,...', (text) => partsOf(text).map(portOf), []);
}

/** Addresses, with or without a prefix. */
export function addressList(doc: string): Setting<readonly string[]> {
  return parsed<readonly string[]>(doc, 'ADDRESS,...', (text) => partsOf(text).map(addressOf), []);
}

/** The name of a Kubernetes object (RFC 1123). */
export function objectName(doc: string, fallback?: string): Setting<string> {
  const parse = (text: string) =>
    /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(text) ? text : fail('must be a name in lower case');
  return parsed(doc, 'NAME', parse, fallback);
}

/** Read by `inner`, kept as it is written: for a setting of the sidecar, which reads it again. */
export function verbatim(inner: Setting<unknown>): Setting<string> {
  const parse = (text: string) => {
    inner.parse(text);
    return text;
  };
  return parsed(inner.doc, inner.form, parse);
}

function partsOf(text: string): string[] {
  return text.split(',').map((part) => part.trim());
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : fail('must be ports from 1 to 65535, with commas between them');
}

function addressOf(text: string): string {
  const [address = '', length, ...rest] = text.split('/');
  const family = isIP(address);
  const isLength = length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128));
  if (family !== 0 && isLength && rest.length === 0 && !address.includes('%')) return text;
  return fail('must be addresses or prefixes (10.1.2.3, 10.0.0.0/8, fd00::/8), with commas between them');
}

function fail(reason: string): never {
  throw new Error(reason);
}
