import { parseSpiffeId, type SpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';

/** Where one instance of a service takes mesh connections. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly locality: string;
  readonly weight: number;
}

/** Instances by the SPIFFE ID of their service. */
export type EndpointsByService = ReadonlyMap<SpiffeId, readonly Endpoint[]>;

export function serializeEndpoints(endpoints: EndpointsByService): string {
  const sorted = [...endpoints].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify({ format: 1, services: Object.fromEntries(sorted) });
}

/** @throws CellmeshError `endpoints_invalid` */
export function parseEndpoints(json: string): EndpointsByService {
  try {
    const { format, services } = JSON.parse(json) as { format: unknown; services: Record<string, unknown> };
    if (format !== 1 || typeof services !== 'object' || services === null) throw new Error('it has another format');
    return new Map(
      Object.entries(services).map(([id, list]) => [parseSpiffeId(id), (list as unknown[]).map(parseEndpoint)]),
    );
  } catch (cause) {
    throw new CellmeshError('endpoints_invalid', `the endpoints are refused: ${messageOf(cause)}`, { cause });
  }
}

function parseEndpoint(value: unknown): Endpoint {
  const { host, port, locality, weight } = value as Record<string, unknown>;
  if (typeof host !== 'string' || host === '' || typeof locality !== 'string')
    throw new Error('an endpoint has no host');
  if (!Number.isInteger(port) || Number(port) < 1 || Number(port) > 65_535) throw new Error('an endpoint has no port');
  if (typeof weight !== 'number' || weight <= 0) throw new Error('an endpoint has no weight');
  return { host, port: Number(port), locality, weight };
}
