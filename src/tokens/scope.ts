import { CellmeshError } from '#runtime/errors.ts';

/** `resource:action`, e.g. `messages:write`: what one permission is called everywhere. Made by `parseScope` only. */
export type Scope = string & { readonly __brand: 'Scope' };

/** A catalogue lists scopes by hand; a longer name is a mistake. */
export const scopeBytesMax = 64;
/** A token of 4 KiB cannot hold more; PAINS: tokens stay small. */
const scopesMax = 64;

export const scopePattern = /^[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*$/;

/** @throws CellmeshError `scope_invalid` */
export function parseScope(text: string): Scope {
  if (text.length > scopeBytesMax || !scopePattern.test(text)) {
    throw new CellmeshError(
      'scope_invalid',
      `${JSON.stringify(text.slice(0, scopeBytesMax))} is no scope; write resource:action in lower case`,
    );
  }
  return text as Scope;
}

/** An immutable set of scopes, in one canonical order. */
export class ScopeSet implements Iterable<Scope> {
  static readonly empty = new ScopeSet([]);
  readonly #scopes: ReadonlySet<Scope>;
  /** Sorted, separated by single spaces (the form of RFC 6749 3.3): equal sets have equal texts. */
  readonly text: string;
  /** The last intersection: a token meets the same lists again and again. */
  #lastOther: ScopeSet | undefined;
  #lastIntersection: ScopeSet | undefined;

  private constructor(scopes: readonly Scope[]) {
    this.#scopes = new Set(scopes);
    this.text = scopes.join(' ');
  }

  static of(scopes: Iterable<Scope>): ScopeSet {
    const sorted = [...new Set(scopes)].sort();
    return sorted.length === 0 ? ScopeSet.empty : new ScopeSet(sorted);
  }

  get size(): number {
    return this.#scopes.size;
  }

  has(scope: Scope): boolean {
    return this.#scopes.has(scope);
  }

  intersect(other: ScopeSet): ScopeSet {
    if (other === this) return this;
    if (other !== this.#lastOther || this.#lastIntersection === undefined) {
      this.#lastIntersection = this.#intersectionWith(other);
      this.#lastOther = other;
    }
    return this.#lastIntersection;
  }

  #intersectionWith(other: ScopeSet): ScopeSet {
    if (this.isSubsetOf(other)) return this;
    if (other.isSubsetOf(this)) return other;
    return ScopeSet.of([...this.#scopes].filter((scope) => other.has(scope)));
  }

  isSubsetOf(other: ScopeSet): boolean {
    // A loop, not `Set.prototype.isSubsetOf`, which asks for properties of the other set by their names.
    for (const scope of this.#scopes) if (!other.#scopes.has(scope)) return false;
    return true;
  }

  [Symbol.iterator](): Iterator<Scope> {
    return this.#scopes.values();
  }

  toJSON(): readonly Scope[] {
    return [...this.#scopes];
  }
}

/**
 * The `scope` claim of a token and the list in `cellmesh-left`: scopes separated by single spaces, none twice; empty for no scope.
 * @throws CellmeshError `scope_invalid`
 */
export function parseScopeList(text: string): ScopeSet {
  if (text === '') return ScopeSet.empty;
  const parts = text.split(' ', scopesMax + 1);
  if (parts.length > scopesMax) throw new CellmeshError('scope_invalid', `more than ${scopesMax} scopes`);
  const scopes = ScopeSet.of(parts.map(parseScope));
  if (scopes.size !== parts.length) throw new CellmeshError('scope_invalid', 'a scope is listed twice');
  return scopes;
}
