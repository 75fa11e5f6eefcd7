import { numberAt, textAt, valueAt } from './json.ts';
import { refusalOf, unavailable } from './kubernetes-error.ts';
import type { Resource } from './resources.ts';

/** What a watch tells. `resourceVersion` is where the next watch goes on. */
export type WatchEvent<T> =
  | { readonly type: 'changed' | 'deleted'; readonly object: T; readonly resourceVersion: string }
  | { readonly type: 'bookmark'; readonly resourceVersion: string };

/** etcd takes objects of 1.5 MB, and JSON can be longer than what it keeps. */
const lineBytesMax = 8 * 1024 * 1024;
const newline = 0x0a;

/**
 * Reads the lines of a watch.
 * @throws KubernetesError for an event ERROR (410 `isExpired`: list again), CellmeshError `kubernetes_unavailable` for what is no event
 */
export async function* watchEvents<T>(
  body: AsyncIterable<Buffer>,
  resource: Resource<T>,
): AsyncGenerator<WatchEvent<T>> {
  for await (const line of linesOf(body)) yield eventOf(line, resource);
}

function eventOf<T>(line: string, { read }: Resource<T>): WatchEvent<T> {
  const event = parse(line);
  const type = textAt(event, 'type');
  const object = valueAt(event, 'object');
  if (type === 'ERROR') throw refusalOf(numberAt(object, 'code') ?? 500, object);
  const resourceVersion = textAt(object, 'metadata', 'resourceVersion');
  if (resourceVersion === undefined) throw unavailable('an event of a watch has no resourceVersion');
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
      return { type: 'changed', object: read(object), resourceVersion };
    case 'DELETED':
      return { type: 'deleted', object: read(object), resourceVersion };
    case 'BOOKMARK':
      return { type: 'bookmark', resourceVersion };
    default:
      throw unavailable('an event of a watch is of no known type');
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw unavailable('an event of a watch is not JSON', cause);
  }
}

/** A last line without its end is cut off, and nobody's. */
async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let pieces: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      const line = Buffer.concat([...pieces, chunk.subarray(start, end)]).toString('utf8');
      pieces = [];
      bytes = 0;
      start = end + 1;
      if (line !== '') yield line;
    }
    pieces.push(chunk.subarray(start));
    bytes += chunk.length - start;
    if (bytes > lineBytesMax) throw unavailable(`an event of a watch is longer than ${lineBytesMax} bytes`);
  }
}
