import type { TraceId } from '#policy/open-record.ts';
import type { Random } from '#runtime/random.ts';

/** W3C Trace Context 3.3.1.1: at most this many members; a longer list is discarded. */
export const tracestateMembersMax = 32;
/** W3C Trace Context 3.3.1.5: what is propagated at least, and what we never exceed. */
export const tracestateBytesMax = 512;
/** W3C Trace Context 3.3.1.5: members longer than this are the first to go when the list is too long. */
const memberBytesLarge = 128;
/** Longer input is not looked at. Several times what any vendor writes; the head's own limit is far above. */
const tracestateInputBytesMax = 4096;

/** Our key in `tracestate`; its value is a handle. */
const tracestateKey = 'cellmesh';

export const noMembers: readonly TracestateMember[] = [];

export interface TracestateMember {
  readonly key: string;
  readonly value: string;
}

// W3C Trace Context 3.3.1.3: simple-key, or tenant@system of the first level.
const keyPattern = /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})$/;
// nblk-chr at the end; no comma, no equals sign.
const valuePattern = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;
/** Digits written out one by one: counted, they take twice the time. */
const hex = (digits: number) => '[0-9a-f]'.repeat(digits);
const traceparentPattern = new RegExp(`^${hex(2)}-${hex(32)}-${hex(16)}-${hex(2)}(?:-.*)?$`);
/** W3C Trace Context 3.2.2: this version and ids of zeros are invalid. */
const noVersion = 'ff';
const noTraceId = '0'.repeat(32);
const noParentId = '0'.repeat(16);
const traceparentBytes = 55;
const sampledFlag = 0x01;
const thresholdDigits = 14;
/** Sampled, and "random trace id" of level 2 of the standard. */
const knownFlags = 0x03;

/**
 * The members of all `tracestate` fields of one message, in order. Undefined when anything about them is not as the standard says:
 * a broken list is dropped whole, since half of one would say something that nobody wrote (3.3.1.1: duplicates are invalid too).
 */
export function parseTracestate(values: readonly string[]): readonly TracestateMember[] | undefined {
  if (values.length === 0) return noMembers;
  const list = values.join(',');
  if (list.length > tracestateInputBytesMax) return undefined;
  const members: TracestateMember[] = [];
  const keys = new Set<string>();
  for (const part of list.split(',')) {
    const text = part.replace(/^[ \t]+|[ \t]+$/g, '');
    if (text === '') continue;
    const equals = text.indexOf('=');
    const key = text.slice(0, Math.max(0, equals));
    const value = text.slice(equals + 1);
    if (!keyPattern.test(key) || !valuePattern.test(value) || keys.has(key)) return undefined;
    keys.add(key);
    members.push({ key, value });
  }
  return members.length > tracestateMembersMax ? undefined : members;
}

interface TakenHandle {
  /** The value of our member, whatever it is; undefined when there is none. */
  readonly handle: string | undefined;
  readonly others: readonly TracestateMember[];
}

/** Splits our member, at any position, from the others, whose order stays. */
export function takeHandle(members: readonly TracestateMember[]): TakenHandle {
  const ours = members.findIndex((member) => member.key === tracestateKey);
  if (ours === -1) return { handle: undefined, others: members };
  return { handle: members[ours]?.value, others: members.toSpliced(ours, 1) };
}

/** Puts our member in front (3.3.1.4: what was changed last stands first) in place of any that was there. */
export function putHandle(members: readonly TracestateMember[], handle: string): readonly TracestateMember[] {
  return [{ key: tracestateKey, value: handle }, ...takeHandle(members).others];
}

/** A list with our member alone. */
export function onlyHandle(handle: string): string {
  return `${tracestateKey}=${handle}`;
}

/** One field value within both limits: large members go first, then those at the end. Undefined when nothing is left to write. */
export function writeTracestate(members: readonly TracestateMember[]): string | undefined {
  let kept = members.map(({ key, value }) => `${key}=${value}`).slice(0, tracestateMembersMax);
  if (lengthOf(kept) > tracestateBytesMax) kept = kept.filter((member) => member.length <= memberBytesLarge);
  while (lengthOf(kept) > tracestateBytesMax) kept.pop();
  return kept.length === 0 ? undefined : kept.join(',');
}

export interface Traceparent {
  readonly traceId: TraceId;
  readonly text: string;
}

/** What a span needs of a `traceparent` beside its trace id. */
export function partsOf({ text }: Traceparent): { readonly parentId: string; readonly isSampled: boolean } {
  return { parentId: text.slice(36, 52), isSampled: (Number.parseInt(text.slice(53, 55), 16) & sampledFlag) !== 0 };
}

/** The same trace, from span `id` on. What a later version says beside is not ours to repeat (3.2.4): it goes on as version 00. */
export function continuedBy({ traceId, text }: Traceparent, id: string): Traceparent {
  const flags = Number.parseInt(text.slice(53, 55), 16) & knownFlags;
  return { traceId, text: `00-${traceId}-${id}-${flags.toString(16).padStart(2, '0')}` };
}

export function newSpanId(random: Random): string {
  return nonZeroHex(random, 8);
}

/** W3C Trace Context 3.2; undefined for anything else. */
export function parseTraceparent(text: string): Traceparent | undefined {
  if (!traceparentPattern.test(text)) return undefined;
  if (text.startsWith(noVersion) || text.startsWith(noTraceId, 3) || text.startsWith(noParentId, 36)) return undefined;
  // Version 00 has nothing after the flags; higher ones may (3.2.4).
  if (text.length > traceparentBytes && text.startsWith('00')) return undefined;
  return { traceId: text.slice(3, 35) as TraceId, text };
}

/** A new trace for a request that came without one; `ratio` of them carry the sampled flag. */
export function makeTraceparent(random: Random, ratio: number): Traceparent {
  const traceId = nonZeroHex(random, 16) as TraceId;
  const flags = isSampledAt(traceId, ratio) ? '01' : '00';
  return { traceId, text: `00-${traceId}-${newSpanId(random)}-${flags}` };
}

/** The ratio that was asked for last: a process has one. */
let lastRatio = Number.NaN;
let lastThreshold = '';

/**
 * The trace id decides, so that whoever asks for the same or a higher ratio samples this trace too: its last 56 bits are at or above a threshold,
 * as OpenTelemetry's consistent probability sampling has it.
 */
function isSampledAt(traceId: string, ratio: number): boolean {
  if (ratio !== lastRatio) {
    lastRatio = ratio;
    lastThreshold = thresholdOf(ratio);
  }
  return traceId.slice(-thresholdDigits) >= lastThreshold;
}

/** In hexadecimal, so that texts compare as numbers do. */
function thresholdOf(ratio: number): string {
  const digits = Math.round((1 - ratio) * 16 ** thresholdDigits).toString(16);
  // At a ratio of 0 it has one digit more, and is above all.
  return digits.length > thresholdDigits ? 'g' : digits.padStart(thresholdDigits, '0');
}

/** All zeros is the one value that an identifier may not have (3.2.2.3); a bit is set rather than the dice thrown again. */
function nonZeroHex(random: Random, byteCount: number): string {
  const bytes = Buffer.from(random.bytes(byteCount));
  if (bytes.every((byte) => byte === 0)) bytes[0] = 1;
  return bytes.toString('hex');
}

function lengthOf(members: readonly string[]): number {
  return members.reduce((sum, member) => sum + member.length + 1, -1);
}
