import { entryOverheadBytes } from './decoded-field.ts';
import { staticIndexOfName, staticTable } from './static-table.ts';

/** Where a line of a head stands, by what stood before it. What came there last time comes again most likely. */
class Place {
  /** The line that came last; undefined when it was a new one. */
  line: KnownLine | undefined;
  /** Its name. */
  name: KnownName | undefined;
  /** How often in a row `line` came again, up to `steadyCount`. */
  steadiness = 0;
  run: Run | undefined;
  /** How often in a row another new value of `name` came, up to `changesMax` and then round from `changingCount`. */
  changes = 0;
}

/** A name, as the encoder writes it. */
export interface KnownName {
  /** As it comes, with its colon. */
  readonly prefix: string;
  /** In lower case. */
  readonly text: string;
  readonly hash: number;
  readonly staticIndex: number;
  readonly isNeverIndexed: boolean;
  /** Number of the last insertion that had this name; 0 when there is none. */
  insertion: number;
  uses: number;
  /** After a new line of this name. */
  readonly after: Place;
}

/** A field line that was seen before. */
export interface KnownLine {
  /** With its CRLF. */
  readonly text: string;
  readonly name: KnownName;
  readonly value: string;
  readonly staticIndex: number;
  readonly size: number;
  /** Number of its insertion; it is in the peer's table while that is above the number of evictions. */
  insertion: number;
  readonly after: Place;
}

/** Lines that keep coming one after the other: one comparison finds all of them. */
interface Run {
  readonly text: string;
  readonly lines: readonly KnownLine[];
  readonly after: Place;
}

/** RFC 7541 7.1.3: what must not be found by guessing, or changes for every user, and is never indexed by anybody on the way. */
const neverIndexed: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'cookie', 'set-cookie']);

const linesMax = 1_024;
const namesMax = 512;
/** Slots of the filter that tells a line seen before from a new one. */
const seenSlots = 1_024;
/** So often a line has to come again in its place before it is put into a run. */
const steadyCount = 8;
/** Where so many new values of a name came in a row, as ids do, the next is hardly one that was seen; one in eight is looked for all the same. */
const changingCount = 8;
const changesMax = 15;
/** Of one run, and of all; what comes above is found line by line. Characters. */
const runMax = 4 * 1024;
const runBytesMax = 64 * 1024;

/** What an encoder remembers of the lines that it wrote, to find them again for little. */
export class LineMemory {
  // By hash: a `Map` with texts for keys makes each text that it is asked for one of V8's unique strings, which costs a microsecond where it is new.
  readonly #lines = new Map<number, KnownLine>();
  readonly #names = new Map<number, KnownName>();
  #seen: Int32Array | undefined;
  #head = new Place();
  #trailers = new Place();
  #runBytes = 0;

  /** Where a block begins. */
  startOf(block: string): Place {
    return block.charCodeAt(0) === 0x3a ? this.#head : this.#trailers;
  }

  /** The line of `place` came once more. */
  cameAgain(place: Place, line: KnownLine): void {
    if (place.steadiness < steadyCount) place.steadiness++;
    else if (place.run === undefined && line.after.steadiness === steadyCount && this.#runBytes < runBytesMax) {
      place.run = this.#runFrom(place);
    }
  }

  /** Something else came. */
  dropRun(place: Place): void {
    // Never below nothing: a place may be older than the last `#forget`.
    this.#runBytes = Math.max(0, this.#runBytes - (place.run?.text.length ?? 0));
    place.run = undefined;
  }

  /** A line of `name` came that is not the one of `place`; `known`, when it was seen before. */
  noteChange(place: Place, name: KnownName, known: KnownLine | undefined): void {
    if (known !== undefined || place.name !== name) place.changes = 0;
    else place.changes = place.changes === changesMax ? changingCount : place.changes + 1;
    place.line = known;
    place.name = name;
    place.steadiness = 0;
  }

  /** The name of the line at `at`. */
  nameAt(block: string, at: number, place: Place): KnownName {
    const guess = place.name;
    if (guess !== undefined && block.slice(at, at + guess.prefix.length) === guess.prefix) return guess;
    const prefix = block.slice(at, block.indexOf(':', at + 1) + 1);
    const hash = hashOf(prefix, 0);
    const known = this.#names.get(hash);
    return known?.prefix === prefix ? known : this.#learnName(prefix, hash);
  }

  /** The line, when it is worth an entry: seen a moment ago, or in the static table. */
  find(place: Place, name: KnownName, value: string, block: string, at: number, end: number): KnownLine | undefined {
    if (name.isNeverIndexed) return undefined;
    // To ask costs a hash and two places of memory that hardly anybody else has touched.
    if (place.changes > changingCount && place.name === name) return undefined;
    const hash = hashOf(value, name.hash);
    const known = this.#lines.get(hash);
    if (known?.name === name && known.value === value) return known;
    const staticIndex = name.staticIndex === 0 ? 0 : staticIndexOf(name, value);
    if (staticIndex === 0 && !this.#wasSeen(hash)) return undefined;
    if (this.#lines.size >= linesMax) this.#forget();
    const size = name.text.length + value.length + entryOverheadBytes;
    // A slice would keep the whole head alive that it was cut from.
    const text = copyOf(block.slice(at, end));
    const line = { text, name, value: copyOf(value), staticIndex, size, insertion: 0, after: new Place() };
    this.#lines.set(hash, line);
    return line;
  }

  #learnName(prefix: string, hash: number): KnownName {
    if (this.#names.size >= namesMax) this.#forget();
    const text = copyOf(prefix.slice(0, -1).toLowerCase());
    const name = {
      prefix: copyOf(prefix),
      text,
      hash,
      staticIndex: staticIndexOfName.get(text) ?? 0,
      isNeverIndexed: neverIndexed.has(text),
      insertion: 0,
      uses: 0,
      after: new Place(),
    };
    this.#names.set(hash, name);
    return name;
  }

  #wasSeen(hash: number): boolean {
    this.#seen ??= new Int32Array(seenSlots);
    const slot = hash & (seenSlots - 1);
    if (this.#seen[slot] === hash) return true;
    this.#seen[slot] = hash;
    return false;
  }

  #runFrom(start: Place): Run {
    const lines: KnownLine[] = [];
    let text = '';
    let place = start;
    // Places may lead back to one another, where a head repeats a line.
    while (place.line !== undefined && place.steadiness === steadyCount && text.length < runMax) {
      lines.push(place.line);
      text += place.line.text;
      place = place.line.after;
    }
    this.#runBytes += text.length;
    return { text: copyOf(text), lines, after: place };
  }

  /** All at once: lines, names and places lead to one another. */
  #forget(): void {
    this.#lines.clear();
    this.#names.clear();
    this.#head = new Place();
    this.#trailers = new Place();
    this.#runBytes = 0;
  }
}

/** The first line of a name stands where the name does, and others of that name follow it. */
function staticIndexOf(name: KnownName, value: string): number {
  for (let at = name.staticIndex; at <= staticTable.length; at++) {
    const [text, known] = staticTable[at - 1]!;
    if (text !== name.text) return 0;
    if (known === value) return at;
  }
  return 0;
}

/** Not of the whole text: of its length, its beginning, middle and end, which tells texts of one kind apart. */
function hashOf(text: string, seed: number): number {
  const { length } = text;
  let hash = seed ^ length;
  for (let i = Math.max(0, length - 8); i < length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  const middle = length >> 1;
  for (let i = middle; i < middle + 4 && i < length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  hash ^= hash >>> 15;
  return hash === 0 ? 1 : hash;
}

function copyOf(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
