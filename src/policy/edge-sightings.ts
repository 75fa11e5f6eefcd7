import type { DecisionRecord } from './decision-record.ts';

/** Of one thread: some megabytes. */
export const edgesMax = 10_000;

type Edge = Pick<DecisionRecord, 'direction' | 'peer' | 'address' | 'callee' | 'rule' | 'route' | 'granted'>;
/** By peer or callee (without TLS by address: each of them is somebody to take into the mesh), then by rule or route: the scopes that were granted. */
type Edges = Map<string, Map<string, Set<string>>>;

/**
 * Which edges were permitted before: who called whom, under which rule or route, with which scopes. Maps within maps, because their keys are
 * texts that exist already: of one that was put together for the purpose the hash would be computed for each request.
 */
export class EdgeSightings {
  readonly #inbound: Edges = new Map();
  readonly #outbound: Edges = new Map();
  readonly #edge: Edges = new Map();
  #size = 0;
  #overflow = 0;

  get size(): number {
    return this.#size;
  }

  /** Permits of edges that are not known and had no room. */
  get overflow(): number {
    return this.#overflow;
  }

  /** What is reported of a finished record: every failure and every sighting. */
  kindOf(record: Edge & Pick<DecisionRecord, 'reason'>): 'failure' | 'sighting' | 'permit' {
    if (record.reason !== undefined) return 'failure';
    return this.#isFirst(record) ? 'sighting' : 'permit';
  }

  #isFirst({ direction, peer = '', address, callee = '', rule, route = '', granted = '' }: Edge): boolean {
    const edges = direction === 'inbound' ? this.#inbound : direction === 'outbound' ? this.#outbound : this.#edge;
    const from = address === undefined ? peer : `${peer} ${address}`;
    const other = direction === 'inbound' ? from : callee;
    const way = rule ?? route;
    if (edges.get(other)?.get(way)?.has(granted) === true) return false;
    if (this.#size >= edgesMax) {
      this.#overflow++;
      return false;
    }
    this.#size++;
    const ways = edges.getOrInsertComputed(other, () => new Map<string, Set<string>>());
    ways.getOrInsertComputed(way, () => new Set<string>()).add(granted);
    return true;
  }
}
