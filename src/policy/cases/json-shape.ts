import type { Node } from '#runtime/yaml-document.ts';
import { type Shape, shape } from '../shapes.ts';

/** A map of any JSON values. */
export const jsonObject: Shape<Readonly<Record<string, unknown>>> = shape({ type: 'object' }, (node, problems) =>
  node.kind === 'map' ? (plainValue(node) as Record<string, unknown>) : problems.add(node.at, 'a map is expected'),
);

function plainValue(node: Node): unknown {
  switch (node.kind) {
    case 'map':
      return Object.fromEntries([...node.entries].map(([name, { value }]) => [name, plainValue(value)]));
    case 'list':
      return node.items.map(plainValue);
    case 'scalar':
      return node.value;
  }
}
