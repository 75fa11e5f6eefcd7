import { parseCanonicalPath } from '../canonical-path.ts';
import type { DecisionRecord } from '../decision-record.ts';
import { matchesPath } from '../path-pattern.ts';
import type { CellPolicies } from './cell-policies.ts';
import { denied, unknown, type Verdict } from './verdict.ts';

/**
 * Whether a router would still send a recorded request to the service that it went to; undefined for other cells, and for what it refused: the
 * host is not in a record of the edge, but for the first one of the route that it took.
 */
export function decideEdgeAgain(record: DecisionRecord, { routes }: CellPolicies): Verdict | undefined {
  const { callee = '', path, rule, account, outcome } = record;
  const [cell, service] = callee.split(' ');
  if (outcome !== 'permit' || cell !== routes.cellId || service === undefined || path === undefined) return undefined;
  const canonical = parseCanonicalPath(path);
  const taking = routes.routes.filter(
    (route) => route.service === service && route.paths.some((pattern) => matchesPath(pattern, canonical)),
  );
  if (taking.length === 0) return denied('route_unknown', 'call', `a path that ${service} exposes`, path);
  const host = rule?.replace(/^expose /, '') ?? '';
  const named = taking.filter(({ hosts }) => hosts.includes(host));
  if (named.length === 0) return unknown(`by which host it was called is not recorded, and ${host} is gone`);
  if (account === undefined && named.every(({ auth }) => auth === 'required'))
    return denied('credentials_missing', 'token', 'credentials of a customer', 'none');
  return { tag: 'allowed', rule };
}
