/**
 * Code lengths of the bytes 0 to 255, in bits (RFC 7541, Appendix B). The code is canonical: shorter codes come first, codes of one length are
 * consecutive in the order of their bytes. What is left, thirty ones, is the end-of-string symbol, which no string may contain.
 */
// biome-ignore format: a table
const codeLengths = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/** A node of the code tree: two children, each a node, or the byte that the code stands for, or the end-of-string symbol. */
type Node = [Child, Child];
type Child = Node | number | undefined;
const endOfString = 256;

const nodes = treeNodes();
/** Four bits at a time: the next node | byte << 9 | has a byte << 17; or -1. A code has at least five bits, so no step ends two. */
const steps = new Int32Array(nodes.length * 16);
/** Nodes at which a string may end: fewer than eight bits into a code, all ones (section 5.2). */
const isEnd = new Uint8Array(nodes.length);
const nodeMask = 0x1ff;
const hasByte = 1 << 17;
fillSteps();

/**
 * Decodes `bytes` from `start` to `end` into `target`.
 * @returns how many bytes were written; -1 when it is no Huffman code, -2 when the result is longer than `target`
 */
export function decodeHuffman(bytes: Buffer, start: number, end: number, target: Buffer): number {
  const room = target.length;
  let node = 0;
  let length = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    for (let shift = 4; shift >= 0; shift -= 4) {
      const step = steps[(node << 4) | ((byte >> shift) & 15)]!;
      if (step < 0) return -1;
      if ((step & hasByte) !== 0) {
        if (length === room) return -2;
        target[length++] = (step >> 9) & 255;
      }
      node = step & nodeMask;
    }
  }
  return isEnd[node] === 1 ? length : -1;
}

function treeNodes(): readonly Node[] {
  const root: Node = [undefined, undefined];
  const bytes = codeLengths.map((_, byte) => byte).sort((a, b) => codeLengths[a]! - codeLengths[b]! || a - b);
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    code <<= codeLengths[byte]! - length;
    length = codeLengths[byte]!;
    put(root, code, length, byte);
    code++;
  }
  put(root, code, length, endOfString);
  return collect(root, []);
}

function put(root: Node, code: number, length: number, symbol: number): void {
  let node = root;
  for (let shift = length - 1; shift > 0; shift--) {
    const bit = (code >>> shift) & 1;
    const child = node[bit] ?? [undefined, undefined];
    node[bit] = child;
    node = child as Node;
  }
  node[code & 1] = symbol;
}

function collect(node: Node, into: Node[]): readonly Node[] {
  into.push(node);
  for (const child of node) if (Array.isArray(child)) collect(child, into);
  return into;
}

function fillSteps(): void {
  const indexOf = new Map(nodes.map((node, index) => [node, index]));
  const root = nodes[0]!;
  nodes.forEach((node, index) => {
    for (let bits = 0; bits < 16; bits++) steps[index * 16 + bits] = stepOf(node, bits, root, indexOf);
  });
  let onesOnly: Child = root;
  for (let depth = 0; depth < 8 && Array.isArray(onesOnly); depth++) {
    isEnd[indexOf.get(onesOnly)!] = 1;
    onesOnly = onesOnly[1];
  }
}

function stepOf(from: Node, bits: number, root: Node, indexOf: ReadonlyMap<Node, number>): number {
  let node = from;
  let byte = -1;
  for (let shift = 3; shift >= 0; shift--) {
    const child: Child = node[(bits >> shift) & 1];
    if (child === undefined || child === endOfString) return -1;
    if (typeof child === 'number') {
      byte = child;
      node = root;
    } else node = child;
  }
  return indexOf.get(node)! | (byte < 0 ? 0 : (byte << 9) | hasByte);
}
