/*
 * A value of a chart is not known when the chart is made. It is carried through the same functions as a value that is known, as text that
 * names it: `placeholder` makes it, `piecesOf` finds it again.
 */

/** How it is written: text in quotes, a number or truth value as it is, a map or list as YAML. */
type PlaceholderKind = 'text' | 'scalar' | 'tree';

export interface Placeholder {
  readonly kind: PlaceholderKind;
  /** `.Values.image.name`. */
  readonly path: string;
}

/** Of Unicode's private use, which no value may have. */
const [begin, separator, end] = ['\uE000', '\uE001', '\uE002'];
const pattern = new RegExp(`(${begin}\\w+${separator}[^${end}]+${end})`);

export function placeholder({ kind, path }: Placeholder): string {
  return `${begin}${kind}${separator}${path}${end}`;
}

/** Text as what is fixed in it and what is not, in order. */
export function piecesOf(text: string): (string | Placeholder)[] {
  return text
    .split(pattern)
    .filter((piece) => piece !== '')
    .map((piece) => {
      if (!piece.startsWith(begin)) return piece;
      const [kind, path] = piece.slice(1, -1).split(separator) as [PlaceholderKind, string];
      return { kind, path };
    });
}

/** The placeholder that `value` is as a whole. */
export function placeholderOf(value: unknown): Placeholder | undefined {
  if (typeof value !== 'string') return undefined;
  const [only, ...others] = piecesOf(value);
  return typeof only === 'object' && others.length === 0 ? only : undefined;
}
