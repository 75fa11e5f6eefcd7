// Readers of parsed JSON of our own making: each returns the value as its type, or throws an Error that says what is expected.

export function record(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error('a map is expected');
}

export function list(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new Error('a list is expected');
}

export function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error('text is expected');
}

export function number(value: unknown): number {
  if (typeof value === 'number') return value;
  throw new Error('a number is expected');
}

export function flag(value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new Error('true or false is expected');
}

export function oneOf<const T extends string>(value: unknown, ...allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new Error(`${allowed.join(' or ')} is expected`);
  return found;
}
