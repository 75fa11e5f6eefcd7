import { compileCell } from '#policy/compile.ts';
import { lint } from '#policy/lint/lint.ts';
import { collectManifests } from '#policy/read-manifests.ts';
import type { PolicyFacts } from '../facts.ts';

const expiresWithinMs = 30 * 24 * 3600_000;

/** What manifests say, and what is wrong with them. Pure. @param texts by the name of their file */
export function policyFactsOf(texts: ReadonlyMap<string, string>, nowMs: number): PolicyFacts {
  const report = lint(texts, { nowMs, expiresWithinMs });
  const { cells, policies } = collectManifests(texts);
  return {
    ...{ report, cells, policies },
    version: report.isWhole ? compileCell(cells[0]!, policies).version : undefined,
  };
}
