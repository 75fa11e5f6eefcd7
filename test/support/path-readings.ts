/**
 * What the servers and frameworks that PAINS.md P10 names make of a path, each a deed of one of them, in every order: undone
 * percent-encoding (twice, and overlong UTF-8 too), backslashes for slashes, parameters cut off, slashes merged, dot segments resolved.
 */
export function readingsOf(target: string): ReadonlySet<string> {
  const path = target.split('?', 1)[0]!;
  const readings = new Set([path]);
  for (const reading of readings) {
    for (const step of steps) readings.add(step(reading));
    if (readings.size > readingsMax) throw new Error(`${target} has more readings than there can be`);
  }
  return readings;
}

const readingsMax = 1_000;

const steps: readonly ((path: string) => string)[] = [
  decoded,
  decodedLoosely,
  (path) => path.replaceAll('\\', '/'),
  (path) => path.replaceAll(/;[^/]*/g, ''),
  (path) => path.split('#', 1)[0]!,
  (path) => path.split('?', 1)[0]!,
  (path) => path.split('\0', 1)[0]!,
  (path) => path.replaceAll(/\/{2,}/g, '/'),
  withoutDots,
  (path) => new URL(`http://a${path.startsWith('/') ? '' : '/'}${path}`).pathname,
];

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Byte by byte, as old decoders do: an overlong sequence is the character that it spells. */
function decodedLoosely(path: string): string {
  return path
    .replaceAll(/%[cC]([01])%([89abAB][0-9a-fA-F])/g, (_, high: string, low: string) =>
      String.fromCharCode((Number(high) << 6) | (Number.parseInt(low, 16) & 0x3f)),
    )
    .replaceAll(/%([0-7][0-9a-fA-F])/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

function withoutDots(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/').slice(1)) {
    if (segment === '..') segments.pop();
    else if (segment !== '.') segments.push(segment);
  }
  return `/${segments.join('/')}`;
}
