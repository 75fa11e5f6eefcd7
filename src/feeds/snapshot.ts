import { createHash } from 'node:crypto';

/** The kinds of state that are pushed. Each has a document format that belongs to the room which reads it. */
export const feedTypes = [
  'revocations',
  'bundles',
  'keys',
  'policy',
  'endpoints',
  'routes',
  'accounts',
  'key-status',
  'cells',
] as const;
export type FeedType = (typeof feedTypes)[number];

export function isFeedType(text: string): text is FeedType {
  return (feedTypes as readonly string[]).includes(text);
}

/** One whole state of one type. */
export interface FeedSnapshot {
  readonly type: FeedType;
  /** Rises with every change. */
  readonly revision: number;
  /** Features without which the document would be misread. */
  readonly requires: readonly string[];
  readonly document: string;
  /** When the publisher made it, in milliseconds since the epoch. */
  readonly madeAt: number;
}

export function digestOf(document: string | Uint8Array): Buffer {
  return createHash('sha256').update(document).digest();
}
