import { inflateRawSync } from 'node:zlib';

/** What etcd takes of an object is 1.5 MB; nobody's compressed copy may become more than a few of these. */
const specBytesMax = 8 * 1024 * 1024;
/** A spec that lies in a status as one text: JSON, compressed (RFC 1951), in base64. Undefined for what was not packed so. */
export function unpackSpec(packed: string): unknown {
  try {
    return JSON.parse(
      inflateRawSync(Buffer.from(packed, 'base64'), { maxOutputLength: specBytesMax }).toString('utf8'),
    );
  } catch {
    return undefined;
  }
}
