/**
 * Which fields may pass at each of the four places where a message crosses between an application and the mesh (DESIGN.md 6).
 * The engine takes hop-by-hop fields off by itself; these rules are about names that mean something to us. What is read from a
 * message is read before its fields are removed; what is attached is attached after.
 */
export type Passage = 'inbound-request' | 'inbound-response' | 'outbound-request' | 'outbound-response';

/** Fields that pass from the mesh to an application, or from an application into the mesh, are written by a sidecar and by nobody else. */
const ownPrefix = 'cellmesh-';
/** What other meshes use to say who the caller is; an application that trusts it would trust whoever wrote it. */
const callerCertificateField = 'x-forwarded-client-cert';
/** The trace fields are parsed and written anew, so that our member in `tracestate` is on or off as it must be. */
const traceFields: ReadonlySet<string> = new Set(['traceparent', 'tracestate']);

/** Upper bound of fields that a sidecar attaches to one message, so that an engine can reserve room for them. */
export const attachedFieldsMax = 8;

/**
 * Whether the field `name` (lower case) is removed from a message at `passage`.
 *
 * A name with an underscore is removed on the way into an application: CGI, WSGI and Rack fold `cellmesh_account` and
 * `cellmesh-account` into one variable, and the forged one may win (PAINS.md P11).
 */
export function isRemoved(passage: Passage, name: string): boolean {
  if (isReserved(name)) return true;
  switch (passage) {
    case 'inbound-request':
      return traceFields.has(name) || name.includes('_');
    case 'outbound-request':
      return traceFields.has(name);
    case 'inbound-response':
    case 'outbound-response':
      return false;
  }
}

/** Names that only the mesh may write, in every spelling that some server folds into them. */
function isReserved(name: string): boolean {
  const folded = name.includes('_') ? name.replaceAll('_', '-') : name;
  return folded.startsWith(ownPrefix) || folded === callerCertificateField;
}
