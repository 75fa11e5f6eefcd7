import type { KeyObject } from 'node:crypto';
import { isIPv4 } from 'node:net';
import {
  authorityKeyIdentifier,
  type CertificateProfile,
  extension,
  keyUsage,
  subjectKeyIdentifier,
} from './certificate-profile.ts';
import { contextTag, type Der, oid, primitive, sequence } from './der.ts';
import { oids } from './object-identifiers.ts';

interface ServerFields {
  readonly names: readonly string[];
  readonly addresses: readonly string[];
  readonly publicKey: KeyObject;
  readonly serial: Buffer;
  /** The DER of the issuer's name. */
  readonly issuer: Der;
  readonly issuerKeyId: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A server that is looked for by name or address. No SVID: it names no SPIFFE ID, and may not call. */
export function serverProfile({ names, addresses, issuerKeyId, ...fields }: ServerFields): CertificateProfile {
  // RFC 5280 4.2.1.6: dNSName is [2], iPAddress is [7].
  const alternatives = [
    ...names.map((name) => primitive(contextTag(2, 'primitive'), Buffer.from(name, 'ascii'))),
    ...addresses.map((address) => primitive(contextTag(7, 'primitive'), addressBytes(address))),
  ];
  return {
    ...fields,
    subject: sequence(),
    extensions: [
      keyUsage('digitalSignature'),
      extension(oids.extendedKeyUsage, false, sequence(oid(oids.serverAuth))),
      extension(oids.basicConstraints, true, sequence()),
      subjectKeyIdentifier(fields.publicKey),
      authorityKeyIdentifier(issuerKeyId),
      extension(oids.subjectAltName, true, sequence(...alternatives)),
    ],
  };
}

/** Labels of RFC 1123, in lower case. */
export function isDnsName(name: string): boolean {
  return name.length <= 253 && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/.test(name);
}

/** Four or sixteen bytes in network order. */
function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const zeros = Array.from({ length: 8 - groups(head).length - groups(tail).length }, () => '0');
  const all = [...groups(head), ...(address.includes('::') ? zeros : []), ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
