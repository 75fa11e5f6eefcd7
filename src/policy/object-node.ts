import type { Node, Position } from '#runtime/yaml-document.ts';

/** A document that is an object already, for the readers of documents. */
interface ObjectNode {
  readonly node: Node;
  /** Where something stands in it, such as `spec.allow[0].port`; empty for the whole. */
  readonly fieldAt: (position: Position) => string;
}

/**
 * The value of a JSON document as a node. An object has no lines: its values are counted instead, and a position says which of them is meant.
 * @param value as `JSON.parse` makes it
 */
export function objectNode(value: unknown): ObjectNode {
  const fields: string[] = [];
  const convert = (part: unknown, field: string): Node => {
    const at = { line: fields.length, column: 1 };
    fields.push(field);
    if (Array.isArray(part))
      return { kind: 'list', at, items: part.map((item, index) => convert(item, `${field}[${index}]`)) };
    if (typeof part === 'object' && part !== null) {
      const entries = Object.entries(part).map(([key, inner]) => {
        const node = convert(inner, field === '' ? key : `${field}.${key}`);
        return [key, { keyAt: node.at, value: node }] as const;
      });
      return { kind: 'map', at, entries: new Map(entries) };
    }
    return { kind: 'scalar', at, value: part as string | number | boolean | null };
  };
  return { node: convert(value, ''), fieldAt: ({ line }) => fields[line] ?? '' };
}
