/**
 * Fields that some part of the mesh reads or removes. The head scanner notes where these stand; every other field is
 * validated and passes through as bytes. The order is the id's: append only.
 */
const specialNames = [
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'http2-settings',
  'expect',
  'authorization',
  'proxy-authorization',
  'proxy-authenticate',
  'traceparent',
  'tracestate',
  'forwarded',
  'x-forwarded-client-cert',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'via',
  'date',
  'cellmesh-token',
  'cellmesh-left',
  'cellmesh-cell-hint',
  'cellmesh-account',
  'cellmesh-caller',
  'cellmesh-scope',
  'cellmesh-decision',
  'cellmesh-context',
  'cellmesh-as',
  'cellmesh-expect-account',
  'cookie',
  'set-cookie',
  'content-type',
  'grpc-timeout',
  'sec-websocket-key',
  'sec-websocket-accept',
  'retry-attempt',
  'x-original-url',
  'x-rewrite-url',
  'x-envoy-original-path',
] as const;

export type SpecialFieldName = (typeof specialNames)[number];

/** `cellmesh-*`: every name with that prefix. `*_*`: names with an underscore, which CGI-like servers confuse with a dash. */
type FieldClass = 'cellmesh-*' | '*_*';

/** Ids of special fields, from 1; 0 is any other field. */
export const fieldIds = Object.fromEntries(specialNames.map((name, index) => [name, index + 1])) as Readonly<
  Record<SpecialFieldName, number>
>;
export const specialFieldNames: readonly string[] = specialNames;
/** Any name of the reserved prefix that is not in the list. */
export const reservedFieldId = specialNames.length + 1;
export const underscoreFieldId = specialNames.length + 2;
const fieldIdMax = underscoreFieldId;

export const reservedPrefix = 'cellmesh-';

const idsByName: ReadonlyMap<string, number> = new Map(Object.entries(fieldIds));

export function fieldIdOf(name: string): number {
  return idsByName.get(name) ?? 0;
}

/** Id of any lower-case name, with its class where it has one. */
export function fieldIdOrClassOf(name: string): number {
  const id = fieldIdOf(name);
  if (id !== 0) return id;
  if (name.includes('_')) return underscoreFieldId;
  return name.startsWith(reservedPrefix) ? reservedFieldId : 0;
}

/** Names and classes to leave out of a copy: a table by id, and names the scanner does not know (slower to find). */
export interface FieldSet {
  readonly hasId: Uint8Array;
  readonly otherNames: ReadonlySet<string>;
}

/** Make these once, at start: they are looked up for every message. Names are lower case. */
export function fieldSet(...names: readonly (SpecialFieldName | FieldClass | (string & {}))[]): FieldSet {
  const hasId = new Uint8Array(fieldIdMax + 1);
  const otherNames = new Set<string>();
  for (const name of names) {
    if (name === 'cellmesh-*') {
      for (const special of specialNames) if (special.startsWith(reservedPrefix)) hasId[fieldIds[special]] = 1;
      hasId[reservedFieldId] = 1;
    } else if (name === '*_*') hasId[underscoreFieldId] = 1;
    else if (fieldIdOf(name) !== 0) hasId[fieldIdOf(name)] = 1;
    else otherNames.add(name);
  }
  return { hasId, otherNames };
}

export function unionOf(a: FieldSet, b: FieldSet): FieldSet {
  const hasId = a.hasId.map((flag, id) => flag | (b.hasId[id] ?? 0));
  return { hasId, otherNames: new Set([...a.otherNames, ...b.otherNames]) };
}

/**
 * Never copied from one connection to the next (RFC 9110 7.6.1), with what every engine writes anew: the framing fields, `host`, `te`,
 * `expect` and the handshake of WebSocket. `trailer` only announces and passes.
 */
export const hopByHopFields = fieldSet(
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'upgrade',
  'http2-settings',
  'expect',
  'proxy-authorization',
  'proxy-authenticate',
  'content-length',
  'transfer-encoding',
  'sec-websocket-key',
  'sec-websocket-accept',
);
