import { type Certificate, parseCertificate } from './certificate.ts';

/** The issuers of a cell are few, and a peer that connects again shows the same leaf; one entry is some ten kilobytes. */
export const recentCertificatesMax = 128;

/**
 * Certificates that were verified a while ago, by their exact bytes. Parsing one and checking its signature is half of what a handshake costs beside
 * OpenSSL, and neither depends on anything but the bytes; what depends on the time or on a bundle is asked anew.
 */
export class RecentCertificates {
  readonly #byBytes = new Map<string, Certificate>();

  get size(): number {
    return this.#byBytes.size;
  }

  /** @throws CellmeshError `certificate_invalid` */
  parse(der: Uint8Array): Certificate {
    return this.#byBytes.get(keyOf(der)) ?? parseCertificate(der);
  }

  /** Only what a trusted root vouches for: whoever presents anything else must not push out what others need. */
  remember(certificates: readonly Certificate[]): void {
    for (const certificate of certificates) {
      const key = keyOf(certificate.der);
      this.#byBytes.delete(key);
      if (this.#byBytes.size >= recentCertificatesMax) this.#byBytes.delete(this.#byBytes.keys().next().value!);
      this.#byBytes.set(key, certificate);
    }
  }
}

function keyOf(der: Uint8Array): string {
  return Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('latin1');
}
