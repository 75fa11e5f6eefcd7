/** So many siblings that look like ids are one `*`. */
export const idsMax = 4;
/** So many siblings are one `*`, whatever they look like. */
export const siblingsMax = 200;
/** Of one trie: paths past it are left out. */
export const nodesMax = 100_000;
/** Patterns have no more. */
const segmentsMax = 32;

interface Node<L> {
  readonly children: Map<string, Node<L>>;
  /** What `*` stands for. */
  any?: Node<L>;
  /** Whether every segment is meant by `*`. */
  isWide: boolean;
  ids: number;
  leaf?: L;
}

/**
 * Paths that were seen, as few patterns: siblings that look like ids become `*` once there are more than `idsMax`, and all siblings once there are
 * more than `siblingsMax`; never `**`. The patterns are the same in whatever order paths come.
 */
export class PathTrie<L> {
  readonly #root: Node<L> = emptyNode();
  readonly #make: () => L;
  readonly #merge: (into: L, from: L) => void;
  #nodes = 0;

  constructor(make: () => L, merge: (into: L, from: L) => void) {
    this.#make = make;
    this.#merge = merge;
  }

  /** What belongs to a path; undefined where it finds no place. @param path canonical */
  at(path: string): L | undefined {
    const segments = path.split('/').slice(1);
    if (segments.length > segmentsMax) return undefined;
    let node = this.#root;
    for (const segment of segments) {
      const next = this.#childOf(node, segment);
      if (next === undefined) return undefined;
      node = next;
    }
    node.leaf ??= this.#make();
    return node.leaf;
  }

  /** Every pattern, in the order of their texts. */
  patterns(): [pattern: string, L][] {
    return [...leavesOf(this.#root, '')].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  #childOf(node: Node<L>, segment: string): Node<L> | undefined {
    const known = existing(node, segment);
    if (known !== undefined) return known;
    if (this.#nodes >= nodesMax) return undefined;
    this.#nodes++;
    this.#attach(node, segment, emptyNode());
    return existing(node, segment);
  }

  #attach(node: Node<L>, segment: string, child: Node<L>): void {
    node.children.set(segment, child);
    if (looksLikeId(segment)) node.ids++;
    if (node.children.size > siblingsMax) node.isWide = true;
    if (node.isWide || node.ids > idsMax || node.any !== undefined || segment.includes('*')) this.#generalise(node);
  }

  /** Takes what `*` means out of the children, into one. */
  #generalise(node: Node<L>): void {
    if (node.any === undefined) this.#nodes++;
    const any: Node<L> = node.any ?? emptyNode();
    node.any = any;
    for (const [segment, child] of node.children) {
      if (!isMeantByAny(node, segment)) continue;
      node.children.delete(segment);
      if (looksLikeId(segment)) node.ids--;
      this.#join(any, child);
    }
  }

  #join(into: Node<L>, from: Node<L>): void {
    this.#nodes--;
    if (from.leaf !== undefined) {
      if (into.leaf === undefined) into.leaf = from.leaf;
      else this.#merge(into.leaf, from.leaf);
    }
    if (from.any !== undefined) {
      if (into.any === undefined) into.any = from.any;
      else this.#join(into.any, from.any);
    }
    into.isWide ||= from.isWide;
    if (into.any !== undefined) this.#generalise(into);
    for (const [segment, child] of from.children) {
      const known = existing(into, segment);
      if (known === undefined) this.#attach(into, segment, child);
      else this.#join(known, child);
    }
  }
}

function emptyNode<L>(): Node<L> {
  return { children: new Map(), isWide: false, ids: 0 };
}

function existing<L>(node: Node<L>, segment: string): Node<L> | undefined {
  return node.children.get(segment) ?? (node.any !== undefined && isMeantByAny(node, segment) ? node.any : undefined);
}

/** `*` stands for no empty segment, and a pattern cannot name one with an asterisk. */
function isMeantByAny<L>({ isWide, ids, any }: Node<L>, segment: string): boolean {
  if (segment === '') return false;
  return isWide || segment.includes('*') || ((any !== undefined || ids > idsMax) && looksLikeId(segment));
}

/** Digits, UUIDs, hexadecimal and other mixtures of letters and digits; not `v1`, nor names with dots. */
function looksLikeId(segment: string): boolean {
  const digits = segment.replace(/\D/g, '').length;
  if (digits === 0 || segment.includes('.') || /^v\d+$/.test(segment)) return false;
  return segment.length >= 20 || digits * 4 >= segment.length;
}

function* leavesOf<L>({ children, any, leaf }: Node<L>, path: string): Generator<[string, L]> {
  if (leaf !== undefined) yield [path, leaf];
  for (const [segment, child] of children) yield* leavesOf(child, `${path}/${segment}`);
  if (any !== undefined) yield* leavesOf(any, `${path}/*`);
}
