import { alsoFrom, optional, parsed, type Settings } from '#runtime/config.ts';

const tracesPath = 'v1/traces';

/**
 * The signal's URL below a collector's base URL, as OpenTelemetry's exporters make it (OTLP exporter specification, "Endpoint URLs for
 * OTLP/HTTP").
 */
function tracesUrl(base: string): URL {
  const url = URL.canParse(base) ? new URL(base) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new Error('must be a URL with http or https');
  if (url.username + url.password + url.search + url.hash !== '')
    throw new Error('must have no user, query or fragment');
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return new URL(tracesPath, url);
}

/** Settings of every process that makes spans. */
export const otlpSettings = {
  otlpEndpoint: alsoFrom(
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    optional(
      parsed(
        'Base URL of the OTLP/HTTP collector that takes spans of sampled requests; default: none are made.',
        'URL',
        tracesUrl,
      ),
    ),
  ),
} as const satisfies Settings;
