import assert from 'node:assert/strict';
import { fieldIdOrClassOf, hopByHopFields, unionOf } from '#wire/field-names.ts';
import { forbiddenTrailers } from '#wire/forbidden-trailers.ts';

export type Field = readonly [name: string, value: string];

/** A message as one engine understood it. */
export interface Message {
  /** Method and target, or status and reason. */
  readonly line: string;
  readonly fields: readonly Field[];
  readonly body: string;
  readonly trailers: readonly Field[];
}

/** What one engine made of a connection: the messages that came to their end, in order, and why there are no more. */
export interface Reading {
  readonly messages: readonly Message[];
  /** Our rule, or Node's code. */
  readonly refused: string | undefined;
}

/** What one engine made of the streams of a connection: those that came to their end, by their number, and what was said of the others. */
export interface StreamReading {
  readonly messages: ReadonlyMap<number, Message>;
  readonly refused: readonly string[];
}

/** Deliberate differences, each with where the RFCs speak of it. */
export interface Differences {
  /** Rules by which we refuse what Node takes. */
  readonly stricter: Readonly<Record<string, string>>;
  /** Codes with which Node refuses what we take, and what must be so of that message, the last of `taken`. */
  readonly laxer: Readonly<
    Record<
      string,
      { readonly why: string; readonly holds: (taken: readonly Message[], ours: Reading | StreamReading) => boolean }
    >
  >;
}

/** What both take must mean the same; what one refuses must be one of the differences that are meant. */
export function assertSameMeaning(ours: Reading, theirs: Reading, { stricter, laxer }: Differences): void {
  const both = Math.min(ours.messages.length, theirs.messages.length);
  for (let k = 0; k < both; k++) assertSameMessage(ours.messages[k]!, theirs.messages[k]!);
  if (theirs.messages.length > both) {
    assert.ok(String(ours.refused) in stricter, `Node takes what we refuse by ${ours.refused}`);
  }
  if (ours.messages.length > both) {
    const reason = laxer[String(theirs.refused)];
    assert.ok(
      reason?.holds(ours.messages.slice(0, both + 1), ours),
      `we take what Node refuses with ${theirs.refused}`,
    );
  }
}

/** The same, stream by stream. */
export function assertSameStreams(ours: StreamReading, theirs: StreamReading, { stricter, laxer }: Differences): void {
  for (const id of new Set([...ours.messages.keys(), ...theirs.messages.keys()])) {
    const [a, b] = [ours.messages.get(id), theirs.messages.get(id)];
    if (a !== undefined && b !== undefined) assertSameMessage(a, b);
    else if (a === undefined) {
      assert.ok(
        ours.refused.some((rule) => rule in stricter),
        `Node takes stream ${id}, which we refuse: ${ours.refused}`,
      );
    } else {
      assert.ok(
        theirs.refused.some((code) => laxer[code]?.holds([a], ours)),
        `we take stream ${id}, which Node refuses: ${theirs.refused}`,
      );
    }
  }
}

function assertSameMessage(ours: Message, theirs: Message): void {
  assert.deepEqual([ours.line, ours.fields, ours.body], [theirs.line, theirs.fields, theirs.body]);
  assert.deepEqual(ours.trailers, theirs.trailers.filter(mayBeTrailer));
}

const notInTrailers = unionOf(forbiddenTrailers, hopByHopFields);

/** RFC 9110 6.5.1: a recipient takes from trailers only what it knows to be harmless there. */
function mayBeTrailer([name]: Field): boolean {
  const lower = name.toLowerCase();
  return notInTrailers.hasId[fieldIdOrClassOf(lower)] !== 1 && !notInTrailers.otherNames.has(lower);
}
