import { once } from 'node:events';
import { WebSocket } from 'ws';

/** What lives on the heap of another Node process, after a collection. */
export interface HeapCensus {
  /** Of everything, buffers outside of the heap too as far as V8 knows them. */
  readonly bytes: number;
  /** How many objects of each class live, by its name. */
  readonly objects: ReadonlyMap<string, number>;
}

interface Snapshot {
  readonly snapshot: {
    readonly meta: { readonly node_fields: readonly string[]; readonly node_types: readonly [readonly string[]] };
  };
  readonly nodes: readonly number[];
  readonly strings: readonly string[];
}

/**
 * A heap snapshot by the inspector protocol (https://chromedevtools.github.io/devtools-protocol/v8/HeapProfiler/), which collects garbage first.
 * @param url where the process said that its debugger listens
 */
export async function takeHeapCensus(url: string): Promise<HeapCensus> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  const chunks: string[] = [];
  await once(socket, 'open');
  const done = new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('message', (data) => {
      const message = JSON.parse(String(data)) as { id?: number; method?: string; params?: { chunk: string } };
      if (message.method === 'HeapProfiler.addHeapSnapshotChunk') chunks.push(message.params!.chunk);
      if (message.id === 1) resolve();
    });
  });
  socket.send(JSON.stringify({ id: 1, method: 'HeapProfiler.takeHeapSnapshot', params: { reportProgress: false } }));
  await done;
  socket.close();
  return countNodes(JSON.parse(chunks.join('')) as Snapshot);
}

function countNodes({ snapshot, nodes, strings }: Snapshot): HeapCensus {
  const { node_fields: fields, node_types: types } = snapshot.meta;
  const [type, name, size] = ['type', 'name', 'self_size'].map((field) => fields.indexOf(field)) as [
    number,
    number,
    number,
  ];
  const object = types[0].indexOf('object');
  const objects = new Map<string, number>();
  let bytes = 0;
  for (let at = 0; at < nodes.length; at += fields.length) {
    bytes += nodes[at + size]!;
    if (nodes[at + type] !== object) continue;
    const className = strings[nodes[at + name]!]!;
    objects.set(className, (objects.get(className) ?? 0) + 1);
  }
  return { bytes, objects };
}
