import { numberAt, textAt } from './json.ts';
import type { Resource } from './resources.ts';

/** Who may act alone, and until when (coordination.k8s.io/v1). */
export interface Lease {
  readonly name: string;
  readonly resourceVersion: string;
  /** Empty: nobody. */
  readonly holder: string;
  /** After so long without a change of the object it is anybody's. */
  readonly durationMs: number;
  readonly acquireTime: string | undefined;
  /** RFC 3339, by the holder's clock. */
  readonly renewTime: string | undefined;
  /** How often it went from one to another. */
  readonly transitions: number;
}

export const leases: Resource<Lease> = {
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  plural: 'leases',
  isNamespaced: true,
  read: (object) => ({
    name: textAt(object, 'metadata', 'name') ?? '',
    resourceVersion: textAt(object, 'metadata', 'resourceVersion') ?? '',
    holder: textAt(object, 'spec', 'holderIdentity') ?? '',
    durationMs: (numberAt(object, 'spec', 'leaseDurationSeconds') ?? 0) * 1000,
    acquireTime: textAt(object, 'spec', 'acquireTime'),
    renewTime: textAt(object, 'spec', 'renewTime'),
    transitions: numberAt(object, 'spec', 'leaseTransitions') ?? 0,
  }),
};
