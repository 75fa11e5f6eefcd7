import { applicationMetricsPath } from '#api/recorded-probes.ts';
import { sidecarPorts } from '#kubernetes/sidecar-ports.ts';
import type { Recording } from './rewrite-probes.ts';

/** Prometheus' own default for one scrape. */
const timeoutMs = 10_000;
const annotation = (name: string) => `prometheus.io/${name}`;

/**
 * Who finds pods by `prometheus.io/scrape` gets the application's metrics from the sidecar, at a path of their own: put together with the sidecar's,
 * two metrics of one name would spoil both. The sidecar's are at `/metrics` of the port that is named `cellmesh-health`.
 */
export function rewriteMetrics(
  annotations: Readonly<Record<string, string>>,
  { probes, problems }: Recording,
): Readonly<Record<string, string>> {
  if (annotations[annotation('scrape')] !== 'true') return annotations;
  const { [annotation('port')]: portText = '', [annotation('path')]: path = '/metrics' } = annotations;
  const scheme = annotations[annotation('scheme')] ?? 'http';
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65_535)
    problems.push(`${annotation('port')} must be the port of the metrics, since it is scraped`);
  if (!path.startsWith('/')) problems.push(`${annotation('path')} must begin with a slash`);
  if (scheme !== 'http' && scheme !== 'https') {
    problems.push(`${annotation('scheme')} must be http or https`);
    return annotations;
  }
  const headers = [['accept', 'text/plain;version=0.0.4']] as const;
  probes.set(applicationMetricsPath, { kind: 'http', scheme, port, path, headers, timeoutMs, isRelayed: true });
  return {
    ...annotations,
    [annotation('port')]: String(sidecarPorts.health),
    [annotation('path')]: applicationMetricsPath,
    ...(annotations[annotation('scheme')] !== undefined && { [annotation('scheme')]: 'http' }),
  };
}
