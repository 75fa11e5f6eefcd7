import {
  type FieldSet,
  fieldIdOf,
  fieldIds,
  hopByHopFields,
  reservedPrefix,
  type SpecialFieldName,
  specialFieldNames,
} from '../field-names.ts';
import type { Fields } from '../message.ts';
import { ruleBroken } from '../wire-error.ts';
import { scanned, specials, specialWidth } from './scan-head.ts';

/** Connection options that change nothing: what they name is handled anyway, or ends at this hop. */
const knownOptions = new Set([
  'close',
  'keep-alive',
  'te',
  'trailer',
  'trailers',
  'upgrade',
  'http2-settings',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
]);

/**
 * The fields of a scanned head: one string that holds the whole head and numbers that say where special fields stand in it.
 * Slices of the string cost no copy; the shared scan buffer is left behind. Make it right after a scan.
 */
export class FieldSection implements Fields {
  readonly #text: string;
  readonly #start: number;
  readonly #end: number;
  readonly #specials: readonly number[];
  readonly #nominated: ReadonlySet<string>;
  /** Of the whole head, with its blank line. */
  readonly byteLength: number;
  readonly isClose: boolean;
  /** `Connection: upgrade`. */
  readonly isUpgrade: boolean;

  constructor(text: string) {
    const count = scanned.specialsLength;
    const noted = new Array<number>(count);
    for (let k = 0; k < count; k++) noted[k] = specials[k]!;
    this.#text = text;
    this.byteLength = text.length;
    this.#start = scanned.fieldsStart;
    this.#end = scanned.end - 2;
    this.#specials = noted;
    const options = this.countById(connectionId) === 0 ? noOptions : this.#connectionOptions();
    this.isClose = options.has('close');
    this.isUpgrade = options.has('upgrade');
    this.#nominated = nominatedOf(options);
  }

  field(name: SpecialFieldName): string | undefined {
    return this.fieldById(fieldIdOf(name));
  }

  fieldCount(name: SpecialFieldName): number {
    return this.countById(fieldIdOf(name));
  }

  fieldById(id: number): string | undefined {
    const noted = this.#specials;
    for (let k = 0; k < noted.length; k += specialWidth) if (noted[k] === id) return this.#valueAt(k);
    return undefined;
  }

  countById(id: number): number {
    const noted = this.#specials;
    let count = 0;
    for (let k = 0; k < noted.length; k += specialWidth) if (noted[k] === id) count++;
    return count;
  }

  find(name: string): string | undefined {
    let found: string | undefined;
    for (const [each, value] of this.entries()) {
      if (each.toLowerCase() === name) found = found === undefined ? value : `${found}, ${value}`;
    }
    return found;
  }

  *entries(): IterableIterator<readonly [name: string, value: string]> {
    const text = this.#text;
    for (let at = this.#start, end = 0; at < this.#end; at = end + 2) {
      end = text.indexOf('\r\n', at);
      const colon = text.indexOf(':', at);
      yield [text.slice(at, colon), trimmed(text, colon + 1, end)];
    }
  }

  linesExcept(drop: FieldSet): string {
    const text = this.#text;
    const noted = this.#specials;
    let lines = '';
    let run = this.#start;
    for (let k = 0; k < noted.length; k += specialWidth) {
      const id = noted[k]!;
      if (drop.hasId[id] === 0 && hopByHopFields.hasId[id] === 0) continue;
      const lineStart = noted[k + 1]!;
      if (lineStart > run) lines += text.slice(run, lineStart);
      run = noted[k + 3]! + 2;
    }
    if (run < this.#end) lines += text.slice(run, this.#end);
    if (this.#nominated.size === 0 && drop.otherNames.size === 0) return lines;
    return withoutNames(lines, this.#nominated, drop.otherNames);
  }

  #valueAt(k: number): string {
    return trimmed(this.#text, this.#specials[k + 2]! + 1, this.#specials[k + 3]!);
  }

  #connectionOptions(): ReadonlySet<string> {
    let options: Set<string> | undefined;
    const noted = this.#specials;
    for (let k = 0; k < noted.length; k += specialWidth) {
      if (noted[k] !== connectionId) continue;
      const value = this.#valueAt(k).toLowerCase();
      // What nearly every message says costs no set.
      if (value === 'keep-alive' && options === undefined) continue;
      options ??= new Set();
      for (const option of value.split(',')) if (option.trim() !== '') options.add(option.trim());
    }
    return options ?? noOptions;
  }
}

const connectionId = fieldIds.connection;
const noOptions: ReadonlySet<string> = new Set();

/**
 * Fields to remove because `Connection` names them. One that the mesh relies on cannot be removed by a sender's word
 * (RFC 9110 7.6.1 forbids to name it): such a message is refused.
 */
function nominatedOf(options: ReadonlySet<string>): ReadonlySet<string> {
  let nominated: Set<string> | undefined;
  for (const option of options) {
    if (knownOptions.has(option)) continue;
    if (specialFieldNames.includes(option) || option.startsWith(reservedPrefix)) {
      throw ruleBroken('connection_nominates', 'Connection names a field that is meant for the other end');
    }
    nominated ??= new Set();
    nominated.add(option);
  }
  return nominated ?? noOptions;
}

function withoutNames(lines: string, nominated: ReadonlySet<string>, others: ReadonlySet<string>): string {
  let kept = '';
  for (let at = 0, end = 0; at < lines.length; at = end) {
    end = lines.indexOf('\r\n', at) + 2;
    const name = lines.slice(at, lines.indexOf(':', at)).toLowerCase();
    if (!nominated.has(name) && !others.has(name)) kept += lines.slice(at, end);
  }
  return kept;
}

/** `text` from `start` to `end` without the spaces and tabs around it. */
function trimmed(text: string, start: number, end: number): string {
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9;
}
