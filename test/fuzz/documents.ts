import { readDocuments } from '#policy/read-documents.ts';
import { isCellmeshError } from '#runtime/errors.ts';

const located = /^fuzz\.yaml:\d+:\d+: ./;

/**
 * Reads `bytes` as a file of manifests. What is refused is refused with file, line and column.
 * @throws whatever is not a CellmeshError: a bug
 */
export function feedDocuments(bytes: Uint8Array): void {
  try {
    readDocuments(Buffer.from(bytes).toString('latin1'), 'fuzz.yaml');
  } catch (error) {
    if (!isCellmeshError(error, 'document_invalid')) throw error;
    for (const problem of error.problems) {
      if (!located.test(problem)) throw new Error(`a problem without a place: ${problem}`);
    }
  }
}
