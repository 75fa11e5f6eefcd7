import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { parseTrustBundle } from '#certs/trust-bundle.ts';
import { parseEndpoints } from '#net/endpoints.ts';
import { parseDecisionRecord } from '#policy/decision-record.ts';
import { parseRoutes } from '#policy/routes.ts';
import { parsePolicySnapshot } from '#policy/snapshot.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { parseAccountMap } from '#tokens/account-map.ts';
import { parseCellDirectory } from '#tokens/cell-directory.ts';
import { parseKeySet } from '#tokens/key-set.ts';
import { parseKeyStatus } from '#tokens/key-status.ts';
import { keyNameOf } from '#tokens/verify.ts';

const trustDomain = parseTrustDomain('cell-1.example');
const readers: readonly ((text: string) => unknown)[] = [
  (text) => parseTrustBundle(text, trustDomain),
  parseEndpoints,
  parseDecisionRecord,
  parseRoutes,
  parsePolicySnapshot,
  parseAccountMap,
  parseCellDirectory,
  parseKeySet,
  parseKeyStatus,
  keyNameOf,
];

/**
 * Reads `bytes` as each of the documents that come over feeds and lie on disk, and as a token.
 * @throws whatever is not a CellmeshError: a bug
 */
export function feedJsonDocuments(bytes: Uint8Array): void {
  const text = Buffer.from(bytes).toString('latin1');
  for (const read of readers) {
    try {
      read(text);
    } catch (error) {
      if (!isCellmeshError(error)) throw error;
    }
  }
}
