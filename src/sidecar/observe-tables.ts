import type { Metrics } from '#runtime/metrics.ts';

/** What a data plane holds and counts by itself. */
interface Tables {
  readonly handles: { readonly size: number; readonly evicted: number };
  readonly tokens: { readonly size: number };
  readonly balancers: { readonly ejected: number };
  readonly decisions: { readonly dropped: number; readonly thinned: number; readonly unlogged: number };
  readonly peerConnections: () => number;
}

/** Gauges that are read when somebody looks. */
export function observeTables(metrics: Metrics, tables: Tables): void {
  const { handles, tokens, balancers, decisions, peerConnections } = tables;
  metrics.observed('cellmesh_handles', 'Handles in the table.', () => handles.size, 'max');
  metrics.observed('cellmesh_handles_evicted', 'Handles dropped before their token ended, since the start.', () => {
    return handles.evicted;
  });
  metrics.observed('cellmesh_verified_tokens', 'Tokens remembered as verified.', () => tokens.size);
  metrics.observed('cellmesh_mesh_connections', 'Open connections of mesh peers.', peerConnections);
  metrics.observed('cellmesh_instances_ejected', 'Instances of callees that are left out for a while.', () => {
    return balancers.ejected;
  });
  metrics.observed('cellmesh_decisions_dropped', 'Decisions that never reached the disk, since the start.', () => {
    return decisions.dropped;
  });
  metrics.observed('cellmesh_decisions_thinned', 'Permits too many to report, since the start.', () => {
    return decisions.thinned;
  });
  metrics.family({
    name: 'cellmesh_access_log_dropped_total',
    help: 'Lines of the access log that its reader was too slow for.',
    type: 'counter',
    read: () => [{ labels: {}, value: decisions.unlogged }],
  });
}
