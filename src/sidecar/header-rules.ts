import { type FieldSet, fieldSet } from '#wire/field-names.ts';

/**
 * Which fields stop at each of the four places where a message crosses between an application and the mesh (DESIGN.md 6). The
 * engine takes hop-by-hop fields off by itself; these are about names that mean something to us. What is read from a message is
 * read before its fields are removed; what is attached is attached after, so nothing an application or a peer wrote under one of these
 * names ever stands beside what the sidecar says.
 */
type Passage = 'inboundRequest' | 'inboundResponse' | 'outboundRequest' | 'outboundResponse';

export const removedFields: Readonly<Record<Passage, FieldSet>> = {
  /**
   * Trace fields are parsed and written anew, so that our member in `tracestate` is on or off as it must be. Every name with an underscore goes: CGI,
   * WSGI and Rack fold `cellmesh_account` and `cellmesh-account` into one variable, and the forged one may win (PAINS.md P11).
   * So do those by which frameworks put another path in place of the one that was decided on (CVE-2018-14773, CVE-2023-27487).
   */
  inboundRequest: fieldSet(
    'cellmesh-*',
    '*_*',
    'x-forwarded-client-cert',
    'x-original-url',
    'x-rewrite-url',
    'x-envoy-original-path',
    'traceparent',
    'tracestate',
  ),
  inboundResponse: fieldSet('cellmesh-*', 'x-forwarded-client-cert'),
  outboundRequest: fieldSet('cellmesh-*', 'x-forwarded-client-cert', 'traceparent', 'tracestate', 'retry-attempt'),
  outboundResponse: fieldSet('cellmesh-*', 'x-forwarded-client-cert'),
};
