import { CellmeshError } from '#runtime/errors.ts';

export type ClaimValue = string | number | boolean;

/**
 * What one claim of a token must be. `anyOf`: one of these values, of the same JSON type; `exists`: whether there is a value at all (`null` is
 * none). Exactly one of the two is given.
 */
export interface ClaimCondition {
  /** JSON pointer (RFC 6901) into the token's claims. */
  readonly pointer: string;
  /** `value`: the claim is the value. `list`: it is an array, and an element counts. `words`: it is text of words with single spaces between them, and a word counts. */
  readonly as: 'value' | 'list' | 'words';
  readonly anyOf?: readonly ClaimValue[];
  readonly exists?: boolean;
}

/** A JSON pointer and its steps. */
export interface Pointer {
  readonly text: string;
  readonly steps: readonly string[];
}

/** Of a claim that nobody wrote down, when a decision is made again: any condition on it holds. */
export const assumedToHold: unique symbol = Symbol('assumed to hold');
/** The same, and none does. */
export const assumedToFail: unique symbol = Symbol('assumed to fail');

export const pointerPattern = /^(?:\/(?:[^~/]|~0|~1)*){1,8}$/;

/** @throws CellmeshError `document_invalid`: it is none, it means the whole token, or it is deeper than 8 */
export function parsePointer(text: string): Pointer {
  if (text.length > 256 || !pointerPattern.test(text)) {
    const written = JSON.stringify(text.slice(0, 64));
    throw new CellmeshError(
      'document_invalid',
      `${written} is no JSON pointer of 1 to 8 steps; write /claim or /claim/field`,
    );
  }
  const steps = text
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  return { text, steps };
}

/** What stands at a pointer; undefined where nothing does. */
export function valueAt(claims: unknown, steps: readonly string[]): unknown {
  let value = claims;
  for (const step of steps) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value ?? undefined;
}

export function matchesClaim({ as, anyOf, exists }: ClaimCondition, value: unknown): boolean {
  if (value === assumedToHold || value === assumedToFail) return value === assumedToHold;
  if (exists !== undefined) return (value !== undefined) === exists;
  const isWanted = (item: unknown) => anyOf!.includes(item as ClaimValue);
  switch (as) {
    case 'value':
      return isWanted(value);
    case 'list':
      return Array.isArray(value) && value.some(isWanted);
    case 'words':
      return typeof value === 'string' && value.split(' ').some((word) => word !== '' && isWanted(word));
  }
}

/** The condition in words: `/plan is "gold" or "silver"`. */
export function describeClaim({ pointer, as, anyOf = [], exists }: ClaimCondition): string {
  if (exists !== undefined) return exists ? `${pointer} to exist` : `no ${pointer}`;
  const values = anyOf.map((value) => JSON.stringify(value)).join(' or ');
  return {
    value: `${pointer} to be ${values}`,
    list: `${pointer} to list ${values}`,
    words: `${pointer} to have the word ${values}`,
  }[as];
}
