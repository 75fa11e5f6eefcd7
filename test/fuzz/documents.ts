import type { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { readCases } from '#policy/cases/read-cases.ts';
import { runCases } from '#policy/cases/run-cases.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { isCellmeshError } from '#runtime/errors.ts';

const located = /^fuzz\.yaml:\d+:\d+: ./;

/**
 * Reads `bytes` as a file of manifests. What is refused is refused with file, line and column.
 * @throws whatever is not a CellmeshError: a bug
 */
export function feedDocuments(bytes: Uint8Array): void {
  refusesWithPlace(() => readDocuments(textOf(bytes), file));
}

/** Reads `bytes` as a file of cases and runs what can be read. Like `feedDocuments`. */
export function feedCases(bytes: Uint8Array, policies: CellAtHand): void {
  refusesWithPlace(() => runCases(policies, readCases(new Map([[file, textOf(bytes)]])), 0));
}

const file = 'fuzz.yaml';
const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

function refusesWithPlace(read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!isCellmeshError(error, 'document_invalid')) throw error;
    for (const problem of error.problems) {
      if (!located.test(problem)) throw new Error(`a problem without a place: ${problem}`);
    }
  }
}
