import { writeYaml } from '#runtime/yaml-stream.ts';
import { placeholderOf } from './placeholder.ts';

/** An object of Kubernetes as it is written down, some of it dependent on values. */
export type Tree = string | number | boolean | readonly Tree[] | { readonly [key: string]: Tree } | Dependent;
/** What an object is when all values are known. */
export type Plain = string | number | boolean | readonly Plain[] | { readonly [key: string]: Plain };
export type TreeMap = Readonly<Record<string, Tree>>;
type Dependent = Optional | Extended | YamlText | Digest;

/** There only with a value that is not empty. Of maps it is an entry, of lists an item. */
export class Optional {
  readonly condition: unknown;
  readonly body: Tree;

  constructor(condition: unknown, body: Tree) {
    this.condition = condition;
    this.body = body;
  }
}

/** A map or list, and behind it the entries of a value. */
export class Extended {
  readonly base: TreeMap | readonly Tree[];
  readonly more: unknown;

  constructor(base: TreeMap | readonly Tree[], more: unknown) {
    this.base = base;
    this.more = more;
  }
}

/** A YAML file that is an entry of a ConfigMap. */
export class YamlText {
  readonly content: TreeMap | Extended;

  constructor(content: TreeMap | Extended) {
    this.content = content;
  }
}

/** Changes whenever an object of another file does, so that pods start anew with it. */
export class Digest {
  /** Name of the file, for charts. */
  readonly file: string;
  readonly of: Tree;

  constructor(file: string, of: Tree) {
    this.file = file;
    this.of = of;
  }
}

export function when(condition: unknown, body: Tree): Optional {
  return new Optional(condition, body);
}

/** An entry that is a value of the installation itself, where it is not empty. */
export function given(value: unknown): Optional {
  return new Optional(value, value as Tree);
}

/** @throws for a tree whose values are not known */
export function plain(tree: Tree, digest: (text: string) => string): Plain {
  const inner = (one: Tree): Plain => plain(one, digest);
  if (tree instanceof Optional) throw new Error('only an entry can be left out');
  if (tree instanceof YamlText) return writeYaml([inner(tree.content)]);
  if (tree instanceof Digest) return digest(JSON.stringify(inner(tree.of)));
  if (tree instanceof Extended) {
    const base = inner(tree.base);
    if (Array.isArray(base)) return [...base, ...(tree.more as Plain[])];
    return { ...(base as Record<string, Plain>), ...(tree.more as Record<string, Plain>) };
  }
  if (Array.isArray(tree)) return tree.filter(isThere).map((item) => inner(bodyOf(item)));
  if (typeof tree !== 'object') {
    if (placeholderOf(tree) !== undefined) throw new Error(`${tree} is not known`);
    return tree;
  }
  const entries = Object.entries(tree as TreeMap).filter(([, value]) => isThere(value));
  return Object.fromEntries(entries.map(([key, value]) => [key, inner(bodyOf(value))]));
}

function bodyOf(tree: Tree): Tree {
  return tree instanceof Optional ? tree.body : tree;
}

/** As the templates of Helm see it: 0, false, and whatever is empty are not there. */
function isThere(tree: Tree): boolean {
  if (!(tree instanceof Optional)) return true;
  const { condition } = tree;
  return typeof condition === 'object' && condition !== null ? Object.keys(condition).length > 0 : Boolean(condition);
}
