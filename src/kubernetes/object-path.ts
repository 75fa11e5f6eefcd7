import { CellmeshError } from '#runtime/errors.ts';
import type { Resource } from './resources.ts';

export interface ObjectName {
  /** Absent for what belongs to no namespace. */
  readonly namespace?: string;
  readonly name: string;
}

/** What is said of an object that is written, beside its name. */
export interface ObjectMetadata extends ObjectName {
  /** Only that object is meant, and none that has its name by now. */
  readonly uid?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly object[];
}

/** Names of namespaces and objects are DNS names (RFC 1123), with ':' in those of RBAC. */
const segmentPattern = /^[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?$/;

/** Of an object, or of all of its kind. @throws CellmeshError `not_found` for what cannot be the name of one */
export function pathOf(
  { apiVersion, plural, isNamespaced }: Resource<unknown>,
  { namespace, name }: Partial<ObjectName>,
): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const parts = [
    ...(isNamespaced && namespace !== undefined ? ['namespaces', segment(namespace)] : []),
    plural,
    ...(name !== undefined ? [segment(name)] : []),
  ];
  return `${root}/${parts.join('/')}`;
}

/** A name that is none could lead to another object, or another API. */
function segment(name: string): string {
  if (segmentPattern.test(name)) return name;
  throw new CellmeshError('not_found', 'the name of an object in Kubernetes is a DNS name');
}
