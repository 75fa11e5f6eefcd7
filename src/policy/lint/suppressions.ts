import { lintRules } from './lint-rules.ts';
import { type Finding, findingOf } from './subject.ts';

interface Suppression {
  readonly file: string;
  /** Of the comment. */
  readonly line: number;
  readonly column: number;
  /** Of what it is about: its own line, or the first after it that is no comment. */
  readonly about: number;
  readonly rules: readonly string[];
}

const comment = /(?:^|\s)(#\s*lint:.*)$/;
const wellFormed = /^#\s*lint:\s*allow\s+([a-z-]+(?:\s*,\s*[a-z-]+)*)\s*:\s*\S/;
/** What is no choice of the author's. */
const never = new Set([
  'document-invalid',
  'contradiction',
  'cell-missing',
  'suppression-unused',
  'suppression-malformed',
]);

/**
 * Takes away the findings that comments allow: `# lint: allow <rule>[, <rule>]: <reason>` at the end of the line of the finding, or in
 * the lines of comment above it. A comment that allows nothing is a finding itself.
 * @param isWhole whether everything was looked at: otherwise no comment is called unused
 */
export function suppress(
  texts: ReadonlyMap<string, string>,
  findings: readonly Finding[],
  { isWhole }: { readonly isWhole: boolean },
): { readonly left: readonly Finding[]; readonly suppressed: readonly Finding[] } {
  const malformed: Finding[] = [];
  const suppressions = [...texts].flatMap(([file, text]) => suppressionsOf(file, text, malformed));
  const used = new Set<string>();
  const left = findings.filter(({ file, line, rule }) => {
    const found = suppressions.filter((one) => one.file === file && one.about === line && one.rules.includes(rule));
    for (const one of found) used.add(keyOf(one, rule));
    return found.length === 0;
  });
  const unused = suppressions.flatMap((one) =>
    one.rules
      .filter((rule) => isWhole && !used.has(keyOf(one, rule)))
      .map((rule) => findingOf('suppression-unused', { ...placeOf(one), message: `there is no finding ${rule} here` })),
  );
  return {
    left: [...left, ...malformed, ...unused],
    suppressed: findings.filter((finding) => !left.includes(finding)),
  };
}

function suppressionsOf(file: string, text: string, malformed: Finding[]): Suppression[] {
  const lines = text.split('\n');
  return lines.flatMap((content, index): Suppression[] => {
    const written = comment.exec(content.trimEnd())?.[1];
    if (written === undefined) return [];
    const line = index + 1;
    const column = content.indexOf(written) + 1;
    const rules = (wellFormed.exec(written)?.[1] ?? '').split(',').flatMap((rule) => rule.trim() || []);
    const wrong = rules.find((rule) => !Object.hasOwn(lintRules, rule) || never.has(rule));
    if (rules.length === 0 || wrong !== undefined) {
      const message =
        wrong === undefined ? 'write `# lint: allow <rule>: <reason>`' : `${wrong} is nothing that can be allowed`;
      malformed.push(findingOf('suppression-malformed', { file, line, column, message }));
      return [];
    }
    const isAlone = content.trimStart().startsWith('#');
    const next = lines.findIndex((other, at) => at > index && !other.trimStart().startsWith('#'));
    return [{ file, line, column, about: isAlone ? next + 1 : line, rules }];
  });
}

function placeOf({ file, line, column }: Suppression): Pick<Finding, 'file' | 'line' | 'column'> {
  return { file, line, column };
}

function keyOf({ file, line }: Suppression, rule: string): string {
  return `${file}:${line}:${rule}`;
}
