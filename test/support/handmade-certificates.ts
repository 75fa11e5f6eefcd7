import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { type KeyUsage, keyUsages } from '#certs/certificate-extensions.ts';
import {
  bitString,
  boolean,
  constructed,
  contextTag,
  type Der,
  encodeDer,
  integer,
  octetString,
  oid,
  primitive,
  sequence,
  set,
  smallInteger,
  time,
  utf8String,
} from '#certs/der.ts';
import { oids } from '#certs/object-identifiers.ts';
import { algorithmIdentifier, publicKeyInfo } from '#certs/signature-algorithm.ts';

/**
 * Certificates put together field by field, with none of the product's checks in the way: every rule can be broken alone.
 */
export interface Party {
  readonly name: Der;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface Handmade {
  readonly issuer: Party;
  readonly publicKey: KeyObject;
  readonly subject?: Der;
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly extensions?: readonly Der[];
  readonly serial?: Buffer;
  readonly algorithm?: Der;
  readonly outerAlgorithm?: Der;
  readonly version?: number;
}

export const startMs = Date.UTC(2026, 0, 1);
const hourMs = 3600_000;

export function nameOf(commonName: string): Der {
  return sequence(set(sequence(oid(oids.commonName), utf8String(commonName))));
}

export function party(commonName: string, curve = 'P-256'): Party {
  return { name: nameOf(commonName), ...generateKeyPairSync('ec', { namedCurve: curve }) };
}

export function extension(id: string, critical: boolean, value: Der): Der {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(encodeDer(value)));
}

export function keyUsage(usages: readonly KeyUsage[], critical = true): Der {
  const bits = [0, 0];
  for (const usage of usages) {
    const index = keyUsages.indexOf(usage);
    bits[index >> 3]! |= 0x80 >> (index & 7);
  }
  return extension(oids.keyUsage, critical, bitString(Buffer.from(bits)));
}

export function basicConstraints(isAuthority: boolean, pathLength?: number): Der {
  const parts = isAuthority ? [boolean(true), ...(pathLength === undefined ? [] : [smallInteger(pathLength)])] : [];
  return extension(oids.basicConstraints, true, sequence(...parts));
}

export function uriSans(uris: readonly string[], critical = true): Der {
  const names = uris.map((uri) => primitive(contextTag(6, 'primitive'), Buffer.from(uri, 'latin1')));
  return extension(oids.subjectAltName, critical, sequence(...names));
}

export function extendedKeyUsage(...purposes: readonly string[]): Der {
  return extension(oids.extendedKeyUsage, false, sequence(...purposes.map(oid)));
}

export function leafExtensions(id: string): Record<'usage' | 'purposes' | 'constraints' | 'san', Der> {
  return {
    usage: keyUsage(['digitalSignature']),
    purposes: extendedKeyUsage(oids.serverAuth, oids.clientAuth),
    constraints: basicConstraints(false),
    san: uriSans([id]),
  };
}

export function authorityExtensions(trustDomain: string, pathLength?: number): readonly Der[] {
  return [
    keyUsage(['keyCertSign', 'cRLSign']),
    basicConstraints(true, pathLength),
    uriSans([`spiffe://${trustDomain}`], false),
  ];
}

export function handmade(fields: Handmade): Buffer {
  const algorithm = fields.algorithm ?? algorithmIdentifier('ecdsa-sha256');
  const tbs = sequence(
    constructed(contextTag(0, 'constructed'), smallInteger(fields.version ?? 2)),
    integer(fields.serial ?? Buffer.from('42', 'hex')),
    algorithm,
    fields.issuer.name,
    sequence(time(fields.notBefore ?? startMs - hourMs), time(fields.notAfter ?? startMs + 12 * hourMs)),
    fields.subject ?? sequence(),
    publicKeyInfo(fields.publicKey),
    ...(fields.extensions === undefined
      ? []
      : [constructed(contextTag(3, 'constructed'), sequence(...fields.extensions))]),
  );
  const signature = sign('sha256', encodeDer(tbs), fields.issuer.privateKey);
  return encodeDer(sequence(tbs, fields.outerAlgorithm ?? algorithm, bitString(signature)));
}
