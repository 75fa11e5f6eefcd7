import type { PathPattern } from './path-pattern.ts';

/** Whether everything that `narrow` matches is matched by `broad`; of paths, and of SPIFFE IDs as `id-pattern.ts` splits them. */
export function coversPattern(broad: PathPattern, narrow: PathPattern): boolean {
  const { length } = broad.segments;
  // The rest after `**` has a segment at least, be it empty.
  const isLongEnough = broad.matchesRest
    ? narrow.segments.length >= length + (narrow.matchesRest ? 0 : 1)
    : narrow.segments.length === length && !narrow.matchesRest;
  return isLongEnough && broad.segments.every((segment, at) => coversSegment(segment, narrow.segments[at]!));
}

/** Whether there is something that both match. */
export function overlapsPattern(one: PathPattern, other: PathPattern): boolean {
  const [short, long] = one.segments.length <= other.segments.length ? [one, other] : [other, one];
  const { length } = short.segments;
  const more = long.segments.length - length;
  const reaches = short.matchesRest ? more > 0 || long.matchesRest : more === 0 && !long.matchesRest;
  return (
    reaches &&
    short.segments.every((segment, at) => {
      const against = long.segments[at]!;
      return coversSegment(segment, against) || coversSegment(against, segment);
    })
  );
}

function coversSegment(broad: string, narrow: string): boolean {
  return broad === narrow || (broad === '*' && narrow !== '');
}
