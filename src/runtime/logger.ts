import type { Clock } from './clock.ts';
import { CellmeshError } from './errors.ts';
import { Secret } from './secret.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  with(fields: LogFields): Logger;
}

const severity: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40 };

/** Field names whose values never reach a log, whatever they hold. Compared in lower case. */
const secretFields = new Set([
  'authorization',
  'cookie',
  'password',
  'secret',
  'token',
  'cellmesh-token',
  'cellmesh-context',
  'privatekey',
  'private_key',
  'jointoken',
  'authtoken',
]);

/** A longer string value is cut, so that hostile input cannot fill a disk. */
const valueCharactersMax = 2048;

interface LoggerOptions {
  level: LogLevel;
  clock: Clock;
  /** Receives one JSON object a line, newline included. */
  write: (line: string) => void;
  fields?: LogFields;
}

/** JSON lines: `{"time","level","message",...fields}`. */
export function createLogger(options: LoggerOptions): Logger {
  const threshold = severity[options.level];
  const log = (level: LogLevel, message: string, fields?: LogFields) => {
    if (severity[level] < threshold) return;
    const line = { time: new Date(options.clock.now()).toISOString(), level, message, ...options.fields, ...fields };
    options.write(`${toJson(line)}\n`);
  };
  return {
    debug: (message, fields) => log('debug', message, fields),
    info: (message, fields) => log('info', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    error: (message, fields) => log('error', message, fields),
    with: (fields) => createLogger({ ...options, fields: { ...options.fields, ...fields } }),
  };
}

export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  with: () => silentLogger,
};

/** As a line would have them: for a logger of another thread. */
export function plainFields(fields: LogFields): LogFields {
  const line = toJson({ time: undefined, level: undefined, message: undefined, ...fields });
  return JSON.parse(line) as LogFields;
}

/** A field that has no JSON (a circle, a `toJSON` that throws) costs the fields, never the line or the caller. */
function toJson({ time, level, message, ...fields }: LogFields): string {
  try {
    return JSON.stringify({ time, level, message, ...fields }, redact);
  } catch {
    return JSON.stringify({ time, level, message, unprintable: Object.keys(fields) }, redact);
  }
}

function redact(key: string, value: unknown): unknown {
  if (value instanceof Secret || secretFields.has(key.toLowerCase())) return '[redacted]';
  if (value instanceof CellmeshError)
    return { code: value.code, message: value.message, problems: value.problems, cause: value.cause };
  if (value instanceof Error) return { message: value.message };
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string' && value.length > valueCharactersMax) return `${value.slice(0, valueCharactersMax)}…`;
  return value;
}
