import { forbiddenTrailers } from '../forbidden-trailers.ts';
import type { HttpLimits } from '../limits.ts';
import { ruleBroken, WireError } from '../wire-error.ts';
import { FieldSection } from './field-section.ts';
import { scanBytes, scanFields, scanned } from './scan-head.ts';

/**
 * Trailer lines fit to forward, of a section that ends with its blank line.
 * @throws WireError `trailer`, `trailer_size`
 */
export function readTrailers(section: readonly number[], limits: HttpLimits): string {
  scanBytes.set(section);
  try {
    scanFields(0, section.length, limits);
    return new FieldSection(scanBytes.toString('latin1', 0, scanned.end)).linesExcept(forbiddenTrailers);
  } catch (error) {
    if (error instanceof WireError && error.status === 400) throw ruleBroken('trailer', error.message);
    throw error;
  }
}
