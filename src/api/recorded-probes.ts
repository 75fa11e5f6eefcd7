import { CellmeshError } from '#runtime/errors.ts';

/**
 * What the injector took from a pod, because only its sidecar reaches the application, and the sidecar answers in its place: a question to the
 * application for each path of the health port. One writes this as JSON into the pod, the other reads it.
 */
export type RecordedProbes = ReadonlyMap<string, RecordedProbe>;

export type RecordedProbe = HttpProbe | TcpProbe | GrpcProbe;

interface Probe {
  readonly port: number;
  readonly timeoutMs: number;
}

export interface HttpProbe extends Probe {
  readonly kind: 'http';
  readonly scheme: 'http' | 'https';
  /** Path and query. */
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The application's answer is the sidecar's, body and all: for metrics. */
  readonly isRelayed: boolean;
}

interface TcpProbe extends Probe {
  readonly kind: 'tcp';
}

/** grpc.health.v1. */
export interface GrpcProbe extends Probe {
  readonly kind: 'grpc';
  readonly service: string;
}

/** Where the application's own metrics are found, beside the sidecar's at `/metrics`. */
export const applicationMetricsPath = '/metrics/application';

/** Kubernetes allows 128 KiB for all annotations of a pod; a probe takes 150 bytes. */
const bytesMax = 64 * 1024;
const headersMax = 64;

export function probePath(container: string, kind: string): string {
  return `/probe/${container}/${kind}`;
}

/** In one line, without `$`: Kubernetes would expand `$(NAME)` in a variable's value. */
export function recordedProbesText(probes: RecordedProbes): string {
  return JSON.stringify(Object.fromEntries(probes)).replaceAll('$', '\\u0024');
}

/** @throws CellmeshError `config_invalid` */
export function parseRecordedProbes(text: string): RecordedProbes {
  if (Buffer.byteLength(text) > bytesMax) throw invalid(`are longer than ${bytesMax} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('are no JSON');
  }
  if (!isMap(value)) throw invalid('must be a map from paths to probes');
  return new Map(Object.entries(value).map(([path, probe]) => [path, readProbe(path, probe)]));
}

function readProbe(path: string, value: unknown): RecordedProbe {
  if (!/^\/[\w./-]{1,512}$/.test(path)) throw invalid(`have a path that cannot be used: ${JSON.stringify(path)}`);
  if (!isMap(value)) throw invalid(`have no map at ${path}`);
  const { kind, port, timeoutMs } = value;
  if (!isWhole(port, 65_535) || !isWhole(timeoutMs, 86_400_000)) throw invalid(`need port and timeoutMs at ${path}`);
  switch (kind) {
    case 'tcp':
      return { kind, port, timeoutMs };
    case 'grpc': {
      if (typeof value['service'] !== 'string') throw invalid(`need a service at ${path}`);
      return { kind, port, timeoutMs, service: value['service'] };
    }
    case 'http':
      return { kind, port, timeoutMs, ...readHttp(path, value) };
    default:
      throw invalid(`have a kind that is neither http, tcp nor grpc at ${path}`);
  }
}

function readHttp(at: string, { scheme, path, headers, isRelayed }: Record<string, unknown>) {
  if (scheme !== 'http' && scheme !== 'https') throw invalid(`need a scheme at ${at}`);
  if (typeof path !== 'string' || !/^\/[\x21-\x7e]*$/.test(path)) throw invalid(`need a path to ask for at ${at}`);
  if (!Array.isArray(headers) || headers.length > headersMax || !headers.every(isHeader)) {
    throw invalid(`need headers, at most ${headersMax} pairs of name and value, at ${at}`);
  }
  return { scheme, path, headers, isRelayed: isRelayed === true } as const;
}

function isHeader(value: unknown): value is readonly [string, string] {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [name, text] = value;
  return (
    typeof name === 'string' &&
    /^[\w!#$%&'*+.^`|~-]+$/.test(name) &&
    typeof text === 'string' &&
    /^([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?$/.test(text)
  );
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isWhole(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max;
}

function invalid(problem: string): CellmeshError {
  return new CellmeshError('config_invalid', `recorded probes ${problem}`);
}
