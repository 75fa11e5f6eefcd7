import type { Fact } from './facts.ts';

/** A cluster, as far as the API server lets us look. */
export interface ClusterFacts {
  /** Of the control plane. */
  readonly namespace: string;
  /** `v1.37.2`. */
  readonly serverVersion: Fact<string>;
}
