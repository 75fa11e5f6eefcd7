import type { CanonicalPath } from './canonical-path.ts';
import type { PathPattern } from './path-pattern.ts';

interface Node<T> {
  /** Children by their literal segment. */
  literals: SegmentTable<Node<T>> | undefined;
  /** The child of `*`. */
  any: Node<T> | undefined;
  /** What patterns say that end here. */
  exact: T | undefined;
  /** What patterns say whose `**` begins here. */
  rest: T | undefined;
}

/**
 * Values by path pattern. What a look-up costs depends on the path and on how many patterns match it, not on how many there are; it
 * allocates nothing.
 */
export class PathTree<T> {
  readonly #root: Node<T> = newNode();
  readonly #make: () => T;

  /** `make`: the value of a pattern that is new. */
  constructor(make: () => T) {
    this.#make = make;
  }

  /** The value of `pattern`. */
  at({ segments, matchesRest }: PathPattern): T {
    let node = this.#root;
    for (const segment of segments) {
      if (segment === '*') {
        node.any ??= newNode();
        node = node.any;
      } else {
        node.literals ??= new SegmentTable();
        node = node.literals.getOrAdd(segment, newNode<T>);
      }
    }
    if (matchesRest) {
      node.rest ??= this.#make();
      return node.rest;
    }
    node.exact ??= this.#make();
    return node.exact;
  }

  /** Puts the values of all patterns that match `path` into `found` from `count` on, and returns how many there are then. */
  find(path: CanonicalPath, found: T[], count: number): number {
    return walk(this.#root, path, 1, found, count);
  }
}

/** As `matchesPath` reads patterns. Every node is come to at most once. */
function walk<T>(node: Node<T>, path: string, start: number, found: T[], count: number): number {
  let length = count;
  if (start > path.length) {
    if (node.exact !== undefined) found[length++] = node.exact;
    return length;
  }
  if (node.rest !== undefined) found[length++] = node.rest;
  if (node.literals === undefined && node.any === undefined) return length;
  const slash = path.indexOf('/', start);
  const end = slash < 0 ? path.length : slash;
  const literal = node.literals?.get(path, start, end);
  if (literal !== undefined) length = walk(literal, path, end + 1, found, length);
  if (node.any !== undefined && end > start) length = walk(node.any, path, end + 1, found, length);
  return length;
}

function newNode<T>(): Node<T> {
  return { literals: undefined, any: undefined, exact: undefined, rest: undefined };
}

interface Slot<V> {
  readonly segment: string;
  readonly value: V;
}

/**
 * Values by segment, asked for by a piece of a longer text. A `Map` would need the piece as a string of its own, and makes each that it is
 * asked for one of V8's unique strings: 1 us where it is new.
 */
class SegmentTable<V> {
  #slots: (Slot<V> | undefined)[] = new Array(4).fill(undefined);
  #size = 0;

  get(text: string, start: number, end: number): V | undefined {
    const mask = this.#slots.length - 1;
    for (let at = hash(text, start, end) & mask; ; at = (at + 1) & mask) {
      const slot = this.#slots[at];
      if (slot === undefined) return undefined;
      if (isAt(slot.segment, text, start, end)) return slot.value;
    }
  }

  getOrAdd(segment: string, make: () => V): V {
    const known = this.get(segment, 0, segment.length);
    if (known !== undefined) return known;
    if (this.#size * 2 >= this.#slots.length) this.#grow();
    const value = make();
    this.#put({ segment, value });
    this.#size++;
    return value;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Array(before.length * 2).fill(undefined);
    for (const slot of before) if (slot !== undefined) this.#put(slot);
  }

  #put(slot: Slot<V>): void {
    const mask = this.#slots.length - 1;
    let at = hash(slot.segment, 0, slot.segment.length) & mask;
    while (this.#slots[at] !== undefined) at = (at + 1) & mask;
    this.#slots[at] = slot;
  }
}

/** As `startsWith` in a fraction of its time. */
function isAt(segment: string, text: string, start: number, end: number): boolean {
  if (segment.length !== end - start) return false;
  for (let at = 0; at < segment.length; at++) if (segment.charCodeAt(at) !== text.charCodeAt(start + at)) return false;
  return true;
}

/** FNV-1a. Whoever writes manifests is trusted not to look for collisions, and requests add nothing to a table. */
function hash(text: string, start: number, end: number): number {
  let value = 0x811c9dc5;
  for (let at = start; at < end; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value ^ (value >>> 15);
}
