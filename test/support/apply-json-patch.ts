/** Assigned, `__proto__` would be no member. */
const field = { enumerable: true, configurable: true, writable: true };

/** RFC 6902, `add` and `remove`, by the letter: a fresh copy of `document` with the steps applied. */
export function applyJsonPatch(
  document: unknown,
  patch: readonly { readonly op: string; readonly path: string; readonly value?: unknown }[],
): unknown {
  const root = { '': copy(document) } as Record<string, unknown>;
  for (const { op, path, value } of patch) {
    const keys = path.split('/').map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop()!;
    const [parent, key] = path === '' ? [root, ''] : [keys.reduce<unknown>(member, root), last];
    if (Array.isArray(parent)) {
      const index = key === '-' ? parent.length : Number(key);
      if (!/^(0|[1-9]\d*|-)$/.test(key) || index > parent.length) throw new Error(`${path}: there is no such place`);
      if (op === 'add') parent.splice(index, 0, copy(value));
      else parent.splice(index, 1);
    } else if (typeof parent === 'object' && parent !== null) {
      const map = parent as Record<string, unknown>;
      if (op === 'add') Object.defineProperty(map, key, { value: copy(value), ...field });
      else if (Object.hasOwn(map, key)) delete map[key];
      else throw new Error(`${path}: nothing to remove`);
    } else throw new Error(`${path}: its parent is no container`);
  }
  return root[''];
}

function member(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) throw new Error(`${key} is not there`);
  return (value as Record<string, unknown>)[key];
}

/** structuredClone assigns. */
function copy(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
