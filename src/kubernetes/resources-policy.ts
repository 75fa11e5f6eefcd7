import { listAt, numberAt, textAt, valueAt } from './json.ts';
import type { Resource } from './resources.ts';

/** `Condition` of meta/v1. */
export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration: number;
}

/** A `ServicePolicy` or a `Cell`, with what is said of it in its status. */
export interface PolicyObject {
  readonly kind: 'Cell' | 'ServicePolicy';
  /** Absent for a `Cell`. */
  readonly namespace?: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** Rises with `spec`. */
  readonly generation: number;
  /** RFC 3339, in seconds. */
  readonly createdAt: string;
  readonly spec: unknown;
  readonly status: PolicyObjectStatus;
}

interface PolicyObjectStatus {
  readonly observedGeneration: number;
  readonly policyVersion: string;
  readonly conditions: readonly Condition[];
  /** The form that was accepted last: its generation, and its spec, packed. */
  readonly accepted?: { readonly generation: number; readonly spec: string };
  /** Of a candidate that denied more than it may. */
  readonly withdrawn?: { readonly version: string; readonly at: string };
  /** All of it, for comparing. */
  readonly written: unknown;
}

const apiVersion = 'cellmesh.io/v1alpha1';

export const servicePolicies: Resource<PolicyObject> = {
  ...{ apiVersion, kind: 'ServicePolicy', plural: 'servicepolicies', isNamespaced: true },
  read: (object) => ({
    ...readObject(object),
    kind: 'ServicePolicy',
    namespace: textAt(object, 'metadata', 'namespace') ?? '',
  }),
};

export const cells: Resource<PolicyObject> = {
  ...{ apiVersion, kind: 'Cell', plural: 'cells', isNamespaced: false },
  read: (object) => ({ ...readObject(object), kind: 'Cell' }),
};

/** As the readers of documents take it: what else the API server keeps of an object is its own. */
export function documentOf({ kind, namespace, name }: PolicyObject, spec: unknown): object {
  return { apiVersion, kind, metadata: { name, ...(namespace !== undefined && { namespace }) }, spec };
}

/** How an object is called in messages. */
export function titleOf({ kind, namespace, name }: PolicyObject): string {
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}

function readObject(object: unknown): Omit<PolicyObject, 'kind'> {
  return {
    name: textAt(object, 'metadata', 'name') ?? '',
    uid: textAt(object, 'metadata', 'uid') ?? '',
    resourceVersion: textAt(object, 'metadata', 'resourceVersion') ?? '',
    generation: numberAt(object, 'metadata', 'generation') ?? 0,
    createdAt: textAt(object, 'metadata', 'creationTimestamp') ?? '',
    spec: valueAt(object, 'spec') ?? null,
    status: readStatus(valueAt(object, 'status')),
  };
}

function readStatus(status: unknown): PolicyObjectStatus {
  const accepted = textAt(status, 'accepted', 'spec');
  const withdrawn = textAt(status, 'withdrawn', 'version');
  return {
    observedGeneration: numberAt(status, 'observedGeneration') ?? 0,
    policyVersion: textAt(status, 'policyVersion') ?? '',
    conditions: listAt(status, 'conditions').map((one) => ({
      type: textAt(one, 'type') ?? '',
      status: textAt(one, 'status') ?? '',
      reason: textAt(one, 'reason') ?? '',
      message: textAt(one, 'message') ?? '',
      lastTransitionTime: textAt(one, 'lastTransitionTime') ?? '',
      observedGeneration: numberAt(one, 'observedGeneration') ?? 0,
    })),
    ...(accepted !== undefined && {
      accepted: { spec: accepted, generation: numberAt(status, 'accepted', 'generation') ?? 0 },
    }),
    ...(withdrawn !== undefined && { withdrawn: { version: withdrawn, at: textAt(status, 'withdrawn', 'at') ?? '' } }),
    written: status,
  };
}
