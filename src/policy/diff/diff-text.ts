import type { Change } from './change.ts';
import type { SubjectDiff } from './diff.ts';

/** A difference for people: under each service, what is added, removed and changed, and whether that is wider or narrower. */
export function diffText(diffs: readonly SubjectDiff[]): string {
  if (diffs.length === 0) return 'no difference';
  const all = diffs.flatMap(({ changes }) => changes);
  const groups = diffs.map(({ subject, changes }) => [subject, ...changes.flatMap(linesOf)].join('\n'));
  const counts = (['wider', 'narrower', 'different', 'same'] as const)
    .map((effect) => [effect, all.filter((change) => change.effect === effect).length] as const)
    .filter(([, count]) => count > 0)
    .map(([effect, count]) => `${count} ${effect === 'same' ? 'without effect' : effect}`);
  return [...groups, `${all.length} change${all.length === 1 ? '' : 's'}: ${counts.join(', ')}`].join('\n\n');
}

function linesOf({ what, kind, effect, before, after, fields }: Change): string[] {
  const effectText = { wider: 'wider', narrower: 'narrower', different: 'different', same: 'no effect' };
  const said = effectText[effect];
  if (fields !== undefined) return [`  ${what}: ${said}`, ...fields.flatMap(linesOf).map((line) => `  ${line}`)];
  if (kind === 'changed') return [`  ${what}: ${before} -> ${after} (${said})`];
  return [`  ${what} ${kind}: ${before ?? after} (${said})`];
}
