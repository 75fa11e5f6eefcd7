import { parseCertificate } from '#certs/certificate.ts';
import { verifyCsr } from '#certs/csr.ts';
import { decodeDer, encodeDer } from '#certs/der.ts';
import { isCellmeshError } from '#runtime/errors.ts';

/**
 * Reads `bytes` as DER, as a certificate and as a certification request. What is read as DER is written as it was.
 * @throws whatever is not a CellmeshError: a bug
 */
export function feedCertificates(bytes: Uint8Array): void {
  const readers: readonly ((der: Buffer) => unknown)[] = [roundTrip, parseCertificate, verifyCsr];
  for (const read of readers) {
    try {
      read(Buffer.from(bytes));
    } catch (error) {
      if (!isCellmeshError(error)) throw error;
    }
  }
}

function roundTrip(bytes: Buffer): void {
  if (!encodeDer(decodeDer(bytes)).equals(bytes))
    throw new Error(`DER is not written as it was: ${bytes.toString('hex')}`);
}
