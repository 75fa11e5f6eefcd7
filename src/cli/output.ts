import { isCellmeshError, messageOf } from '#runtime/errors.ts';
import { withSourcePositions } from '#runtime/source-positions.ts';

export interface OutputOptions {
  readonly json?: boolean;
}

/** A result: for people, or with `--json` for programs. */
export function print(value: unknown, forPeople: () => string, { json }: OutputOptions): void {
  const text = json ? JSON.stringify(value, undefined, 2) : forPeople();
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Says on standard error what went wrong: one line, or one for each of several problems. */
export function printError(error: unknown, { json }: OutputOptions): void {
  const code = isCellmeshError(error) ? error.code : 'internal';
  const problems = isCellmeshError(error) ? error.problems : [];
  if (json) {
    process.stderr.write(`${JSON.stringify({ error: { code, message: messageOf(error), problems } })}\n`);
    return;
  }
  const lines = problems.length > 0 ? problems : [messageOf(error)];
  for (const line of lines) process.stderr.write(`cellmesh: ${line} [${code}]\n`);
  if (!isCellmeshError(error) && error instanceof Error) {
    process.stderr.write(`${withSourcePositions(error.stack ?? '')}\n`);
  }
}

/** Columns of equal width under their titles. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [titles, ...rows];
  const widths = titles.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `in 4 min`, `2 h ago`: how far a moment is away. */
export function distance(toMs: number, nowMs: number): string {
  const seconds = Math.round(Math.abs(toMs - nowMs) / 1000);
  const units: readonly [number, string][] = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, 's'];
  const amount = `${Math.floor(seconds / size)} ${unit}`;
  return toMs >= nowMs ? `in ${amount}` : `${amount} ago`;
}
