import { readFileSync } from 'node:fs';
import { durationText, parseDuration } from './duration.ts';
import { CellmeshError, isCellmeshError, messageOf } from './errors.ts';
import { type Node, readYaml } from './yaml-document.ts';

/** One setting: how its text is read, what it is without one, and what it is for. */
export interface Setting<T> {
  readonly doc: string;
  /** What values look like: `HOST:PORT`, `DURATION`, `a | b`. */
  readonly form: string;
  /** Absent: the setting must be given. */
  readonly fallback?: T;
  /** A variable that other programs read too; ours wins over it. */
  readonly commonVariable?: string;
  /** @throws Error whose message says what is wrong with the value */
  readonly parse: (text: string) => T;
}

export type Settings = Readonly<Record<string, Setting<unknown>>>;
export type Config<S extends Settings> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

interface ConfigSources {
  /** A YAML or JSON file with a map from setting names to values. */
  readonly file?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** By setting name. */
  readonly flags: Readonly<Record<string, string | undefined>>;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

const environmentPrefix = 'CELLMESH_';
const durationForm = 'DURATION';

/** `svidLifetime` as `--svid-lifetime`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `svidLifetime` as `CELLMESH_SVID_LIFETIME`. */
export function environmentNameOf(name: string): string {
  return `${environmentPrefix}${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/**
 * Reads settings from a file, the environment and flags, later ones over earlier ones, into one frozen value.
 * @throws CellmeshError `config_invalid` with every problem of every source, a line each
 */
export function loadConfig<S extends Settings>(settings: S, { file, environment, flags }: ConfigSources): Config<S> {
  const problems: string[] = [];
  const given = new Map<string, { readonly text: string; readonly source: string }>();
  if (file !== undefined) readFileSettings(file, settings, given, problems);
  for (const [name, { commonVariable = '' }] of Object.entries(settings)) {
    const own = environmentNameOf(name);
    // What several programs share is set to nothing where this one should not have it.
    const source = environment[own] === undefined && environment[commonVariable] ? commonVariable : own;
    const text = environment[source];
    if (text !== undefined) given.set(name, { text, source });
  }
  for (const [name, text] of Object.entries(flags)) {
    if (text === undefined) continue;
    if (Object.hasOwn(settings, name)) given.set(name, { text, source: flagOf(name) });
    else problems.push(`${flagOf(name)}: there is no such setting`);
  }
  const config: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(settings)) {
    const found = given.get(name);
    if (found !== undefined) config[name] = parseInto(setting, found, problems);
    else if ('fallback' in setting) config[name] = setting.fallback;
    else problems.push(`${flagOf(name)} (or ${environmentNameOf(name)}) is missing: ${setting.doc}`);
  }
  if (problems.length > 0) {
    throw new CellmeshError('config_invalid', `the settings cannot be used: ${problems.join('; ')}`, { problems });
  }
  return Object.freeze(config) as Config<S>;
}

/** A setting's fallback as one would write it; undefined when it must be given or may be absent. */
export function fallbackText({ form, fallback }: Setting<unknown>): string | undefined {
  if (fallback === undefined) return undefined;
  if (typeof fallback === 'object' && fallback !== null && 'port' in fallback) {
    const { host, port } = fallback as Address;
    return `${host}:${port}`;
  }
  return form === durationForm ? durationText(Number(fallback)) : String(fallback);
}

export function text(doc: string, fallback?: string): Setting<string> {
  return setting({ doc, form: 'TEXT', parse: (value) => (value === '' ? fail('must not be empty') : value) }, fallback);
}

export function path(doc: string, fallback?: string): Setting<string> {
  return setting({ doc, form: 'PATH', parse: (value) => (value === '' ? fail('must not be empty') : value) }, fallback);
}

/** Absent is a value of its own. */
export function optional<T>(inner: Setting<T>): Setting<T | undefined> {
  return { ...inner, fallback: undefined };
}

/** Read from `variable` too, where our own is not set. */
export function alsoFrom<T>(variable: string, inner: Setting<T>): Setting<T> {
  return { ...inner, commonVariable: variable };
}

export function integer(
  doc: string,
  { min, max, fallback }: { min: number; max: number; fallback?: number },
): Setting<number> {
  const parse = (value: string) => {
    const number = /^-?\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? number : fail(`must be a whole number from ${min} to ${max}`);
  };
  return setting({ doc, form: 'NUMBER', parse }, fallback);
}

export function fraction(doc: string, fallback?: number): Setting<number> {
  const parse = (value: string) => {
    const number = /^\d(\.\d{1,9})?$/.test(value) ? Number(value) : Number.NaN;
    return number <= 1 ? number : fail('must be a number from 0 to 1');
  };
  return setting({ doc, form: '0..1', parse }, fallback);
}

export function flag(doc: string, fallback?: boolean): Setting<boolean> {
  const parse = (value: string) =>
    value === 'true' || value === 'false' ? value === 'true' : fail('must be true or false');
  return setting({ doc, form: 'true|false', parse }, fallback);
}

export function choice<const T extends string>(doc: string, values: readonly T[], fallback?: T): Setting<T> {
  const parse = (value: string) =>
    values.find((allowed) => allowed === value) ?? fail(`must be one of ${values.join(', ')}`);
  return setting({ doc, form: values.join('|'), parse }, fallback);
}

/** A whole number with a unit (`90s`, `12h`), read as milliseconds; not below `minMs`. */
export function duration(doc: string, fallback?: number, minMs = 0): Setting<number> {
  const parse = (value: string) => {
    const ms = parseDuration(value) ?? fail('must be a whole number with a unit: 500ms, 30s, 5m, 12h, 7d');
    return ms >= minMs ? ms : fail(`must not be below ${durationText(minMs)}`);
  };
  return setting({ doc, form: durationForm, parse }, fallback);
}

/** `127.0.0.1:14001` or `[::1]:14001`. */
export function address(doc: string, fallback?: Address): Setting<Address> {
  return setting({ doc, form: 'HOST:PORT', parse: parseAddress }, fallback);
}

/** What `parse` makes of it; a CellmeshError that it throws becomes the problem. */
export function parsed<T>(doc: string, form: string, parse: (text: string) => T, fallback?: T): Setting<T> {
  return setting({ doc, form, parse }, fallback);
}

function parseAddress(value: string): Address {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) fail('must be HOST:PORT, or [IPv6]:PORT');
  return { host: (match![1] ?? match![2])!, port };
}

function setting<T>(base: Omit<Setting<T>, 'fallback'>, fallback: T | undefined): Setting<T> {
  return fallback === undefined ? base : { ...base, fallback };
}

function readFileSettings(
  file: string,
  settings: Settings,
  given: Map<string, { text: string; source: string }>,
  problems: string[],
): void {
  let nodes: Node[];
  try {
    nodes = readYaml(readFileSync(file, 'utf8'), file);
  } catch (error) {
    problems.push(...(isCellmeshError(error) ? error.problems : [`${file}: ${messageOf(error)}`]));
    return;
  }
  const [node, ...others] = nodes;
  if (node === undefined) return;
  if (node.kind !== 'map' || others.length > 0) {
    problems.push(`${file}:1:1: one map from setting names to values is expected`);
    return;
  }
  for (const [name, { keyAt, value }] of node.entries) {
    const source = `${file}:${keyAt.line}:${keyAt.column}: ${name}`;
    if (!Object.hasOwn(settings, name)) problems.push(`${source}: there is no such setting`);
    else if (value.kind !== 'scalar' || value.value === null) problems.push(`${source}: a single value is expected`);
    else given.set(name, { text: String(value.value), source });
  }
}

function parseInto(
  setting: Setting<unknown>,
  { text, source }: { text: string; source: string },
  problems: string[],
): unknown {
  try {
    return setting.parse(text);
  } catch (error) {
    problems.push(`${source}: ${messageOf(error)}`);
    return undefined;
  }
}

function fail(reason: string): never {
  throw new Error(reason);
}
