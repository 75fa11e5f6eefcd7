/** One step of RFC 6902. `add` at a member that is there replaces it (4.1), so that nothing else is needed. */
type PatchOperation =
  | { readonly op: 'add'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

type Json = Readonly<Record<string, unknown>>;

/** The steps from one JSON value to another, only where they differ. Lists of things with names are compared by name; others as a whole. */
export function jsonPatch(from: unknown, to: unknown, path = ''): PatchOperation[] {
  if (isMap(from) && isMap(to)) return patchMap(from, to, path);
  if (Array.isArray(from) && Array.isArray(to)) return patchList(from, to, path);
  return Object.is(from, to) ? [] : [{ op: 'add', path, value: to }];
}

function patchMap(from: Json, to: Json, path: string): PatchOperation[] {
  const removed = Object.keys(from)
    .filter((key) => memberOf(to, key) === undefined)
    .map((key) => ({ op: 'remove', path: `${path}/${escaped(key)}` }) as const);
  const changed = Object.entries(to)
    .filter(([, value]) => value !== undefined)
    .flatMap(([key, value]) => jsonPatch(memberOf(from, key), value, `${path}/${escaped(key)}`));
  return [...removed, ...changed];
}

/** Its own: every object of JavaScript has others that nobody wrote. */
function memberOf(map: Json, key: string): unknown {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

function patchList(from: readonly unknown[], to: readonly unknown[], path: string): PatchOperation[] {
  const whole: PatchOperation[] = isSame(from, to) ? [] : [{ op: 'add', path, value: to }];
  const before = namesOf(from);
  const after = namesOf(to);
  if (before === undefined || after === undefined) return whole;
  // What was there must still be, in its order: what is new is put between.
  const isKept = new Set(before);
  if (after.filter((name) => isKept.has(name)).join('\n') !== before.join('\n')) return whole;
  const old = new Map(before.map((name, at) => [name, from[at]]));
  return to.flatMap((item, at): PatchOperation[] =>
    old.has(after[at]!)
      ? jsonPatch(old.get(after[at]!), item, `${path}/${at}`)
      : [{ op: 'add', path: `${path}/${at}`, value: item }],
  );
}

/** Undefined where something has no name, or two have the same. */
function namesOf(list: readonly unknown[]): readonly string[] | undefined {
  const names = list.map((item) => (isMap(item) ? item['name'] : undefined));
  return names.every((name) => typeof name === 'string') && new Set(names).size === names.length ? names : undefined;
}

function isSame(from: readonly unknown[], to: readonly unknown[]): boolean {
  return from.length === to.length && from.every((item, at) => jsonPatch(item, to[at]).length === 0);
}

/** RFC 6901 3. */
function escaped(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

function isMap(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
