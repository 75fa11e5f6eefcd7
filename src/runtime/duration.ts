const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A whole number with a unit (`90s`, `12h`) in milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  return digits === undefined || unit === undefined ? undefined : Number(digits) * units[unit]!;
}

/** In the largest unit that divides it. */
export function durationText(ms: number): string {
  const [unit, size] = Object.entries(units).findLast(([, size]) => ms % size === 0)!;
  return `${ms / size}${unit}`;
}
