import { deflateRawSync, inflateRawSync } from 'node:zlib';

/** What etcd takes of an object is 1.5 MB; nobody's compressed copy may become more than a few of these. */
const specBytesMax = 8 * 1024 * 1024;
/** What the definition of the status takes. */
const packedCharactersMax = 1024 * 1024;

/** A spec as one text of a status: JSON, compressed (RFC 1951), in base64. Undefined when it is too long for one. */
export function packSpec(spec: unknown): string | undefined {
  const packed = deflateRawSync(JSON.stringify(spec), { level: 9 }).toString('base64');
  return packed.length > packedCharactersMax ? undefined : packed;
}

/** Undefined for what was not packed so. */
export function unpackSpec(packed: string): unknown {
  try {
    return JSON.parse(
      inflateRawSync(Buffer.from(packed, 'base64'), { maxOutputLength: specBytesMax }).toString('utf8'),
    );
  } catch {
    return undefined;
  }
}
