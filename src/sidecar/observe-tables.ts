import type { DecisionSink } from '#feeds/decision-sinks.ts';
import { observeDecisions } from '#feeds/observe-decisions.ts';
import type { Metrics } from '#runtime/metrics.ts';

/** What a data plane holds and counts by itself. */
interface Tables {
  readonly handles: { readonly size: number; readonly evicted: number };
  readonly tokens: { readonly size: number };
  readonly balancers: { readonly ejected: number };
  readonly decisions: Omit<DecisionSink, 'add'>;
  readonly edges: { readonly size: number; readonly overflow: number };
  readonly peerConnections: () => number;
  /** Milliseconds since the epoch. */
  readonly plaintext: { readonly lastMs: number };
}

/** Gauges that are read when somebody looks. */
export function observeTables(metrics: Metrics, tables: Tables): void {
  const { handles, tokens, balancers, decisions, edges, peerConnections, plaintext } = tables;
  metrics.observed('cellmesh_handles', 'Handles in the table.', () => handles.size, 'max');
  metrics.observed('cellmesh_handles_evicted', 'Handles dropped before their token ended, since the start.', () => {
    return handles.evicted;
  });
  metrics.observed('cellmesh_verified_tokens', 'Tokens remembered as verified.', () => tokens.size);
  metrics.observed('cellmesh_mesh_connections', 'Open connections of mesh peers.', peerConnections);
  metrics.observed(
    'cellmesh_plaintext_last_seconds',
    'When a caller without TLS was last connected, in seconds since the epoch; 0: never.',
    () => plaintext.lastMs / 1000,
    'max',
  );
  metrics.observed('cellmesh_instances_ejected', 'Instances of callees that are left out for a while.', () => {
    return balancers.ejected;
  });
  observeDecisions(metrics, decisions, edges);
}
