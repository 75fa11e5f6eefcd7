import { parseSpiffeId, type SpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type CellId, parseCellId } from '#tokens/cell-id.ts';
import type { CanonicalPath } from './canonical-path.ts';
import { list, oneOf, record, text } from './json-values.ts';
import { matchesPath, type PathPattern, parsePathPattern } from './path-pattern.ts';
import { isPattern } from './snapshot.ts';

/** What routers may send into a cell: the `expose` entries of all its manifests. */
export interface RoutesDocument {
  readonly version: string;
  readonly cellId: CellId;
  readonly routes: readonly Route[];
}

export interface Route {
  readonly hosts: readonly string[];
  readonly paths: readonly PathPattern[];
  readonly auth: 'required' | 'none';
  /** `namespace/service-account`. */
  readonly service: string;
  readonly id: SpiffeId;
  /** What the router names in `Host` on the mesh side: a host and a port of the service's manifest. */
  readonly authority: string;
}

/** The first route, in the order of the document, that takes this host (lower case, without port) and path. */
export function findRoute({ routes }: RoutesDocument, host: string, path: CanonicalPath): Route | undefined {
  return routes.find(
    (route) => route.hosts.includes(host) && route.paths.some((pattern) => matchesPath(pattern, path)),
  );
}

export function serializeRoutes(document: RoutesDocument): string {
  return JSON.stringify(document, (_, value: unknown) => (isPattern(value) ? value.text : value));
}

/** @throws CellmeshError `policy_snapshot_invalid` */
export function parseRoutes(json: string): RoutesDocument {
  try {
    const document = record(JSON.parse(json));
    return {
      version: text(document['version']),
      cellId: parseCellId(text(document['cellId'])),
      routes: list(document['routes']).map(route),
    };
  } catch (cause) {
    throw new CellmeshError('policy_snapshot_invalid', `the routes are refused: ${messageOf(cause)}`, { cause });
  }
}

function route(value: unknown): Route {
  const { hosts, paths, auth, service, id, authority } = record(value);
  return {
    hosts: list(hosts).map(text),
    paths: list(paths).map((path) => parsePathPattern(text(path))),
    auth: oneOf(auth, 'required', 'none'),
    service: text(service),
    id: parseSpiffeId(text(id)),
    authority: text(authority),
  };
}
