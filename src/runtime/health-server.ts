import { json, type LocalRoutes, type LocalServer, startLocalServer } from './local-server.ts';
import type { Metrics } from './metrics.ts';

interface HealthServerOptions {
  readonly host: string;
  readonly port: number;
  /** Why the process is not ready, a reason each; empty when it is. */
  readonly notReady: () => readonly string[];
  /** Why it has not come up yet: it cannot serve at all. Unlike readiness it does not come and go. */
  readonly notStarted?: () => readonly string[];
  readonly metrics: Metrics;
  /** What else this port answers. */
  readonly routes?: LocalRoutes;
}

/**
 * `/healthz`: the process lives. `/readyz`: it may get traffic; 503 with the reasons when not. `/startupz`: it has come up. `/metrics`: Prometheus text. On a port of its own, so
 * that probes and scrapes never meet the policy (PAINS.md P18).
 */
export function startHealthServer({
  host,
  port,
  notReady,
  notStarted,
  metrics,
  routes,
}: HealthServerOptions): Promise<LocalServer> {
  return startLocalServer({ host, port }, async (path) => {
    switch (path) {
      case '/healthz':
        return json(200, { alive: true });
      case '/readyz':
        return readiness('ready', notReady());
      case '/startupz':
        return notStarted && readiness('started', notStarted());
      case '/metrics':
        return { status: 200, contentType: metrics.contentType, body: await metrics.render() };
      default:
        return routes?.(path, 'GET');
    }
  });
}

function readiness(what: string, reasons: readonly string[]) {
  return json(reasons.length === 0 ? 200 : 503, { [what]: reasons.length === 0, reasons });
}
