import { CellmeshError } from '#runtime/errors.ts';
import { type CanonicalPath, PathRejected, parseCanonicalPath } from './canonical-path.ts';

/** An exact path, or one whose segments may be `*` (one segment) or, last, `**` (the rest, even if it is empty). */
export interface PathPattern {
  readonly text: string;
  readonly segments: readonly string[];
  readonly matchesRest: boolean;
}

const segmentsMax = 32;

const notDot = "[A-Za-z0-9\\-_~!$&'()+,=:@]|%[0-9A-F]{2}";
/** One that is neither `.` nor `..`. Without looking ahead: RE2, which reads the schemas of Kubernetes objects, cannot. */
const segmentText = `\\.*(${notDot})(\\.|${notDot})*|\\.{3,}`;

/** What the text of a path pattern looks like; `parsePathPattern` also knows which percent-encoding is needless. */
export const pathPatternPattern = new RegExp(`^(/(\\*|${segmentText}))*(/|/\\*\\*)?$`);

/** @throws CellmeshError `path_pattern_invalid` */
export function parsePathPattern(text: string): PathPattern {
  const segments = text.split('/').slice(1);
  const matchesRest = segments.at(-1) === '**';
  if (matchesRest) segments.pop();
  const written = matchesRest ? [...segments, '*'] : segments;
  const literal = `/${written.map((segment) => (segment === '*' ? 'x' : segment)).join('/')}`;
  if (segments.length > segmentsMax) throw invalid(text, `it has more than ${segmentsMax} segments`);
  if (segments.some((segment) => segment !== '*' && segment.includes('*')))
    throw invalid(text, '`*` stands for a whole segment, `**` for the rest at the end');
  try {
    if (!text.startsWith('/') || parseCanonicalPath(literal) !== literal)
      throw invalid(text, 'it is not written in canonical form');
  } catch (error) {
    if (error instanceof PathRejected) throw invalid(text, error.message);
    throw error;
  }
  return Object.freeze({ text, segments, matchesRest });
}

export function matchesPath(pattern: PathPattern, path: CanonicalPath): boolean {
  return matchesSegments(pattern, path, 1);
}

/** Whether the segments of `path` from `start` on are those of the pattern. Allocates nothing: it walks between the slashes. */
export function matchesSegments({ segments, matchesRest }: PathPattern, path: string, from: number): boolean {
  let start = from;
  for (const segment of segments) {
    if (start > path.length) return false;
    const slash = path.indexOf('/', start);
    const end = slash < 0 ? path.length : slash;
    if (segment === '*') {
      if (end === start) return false;
    } else if (end - start !== segment.length || !path.startsWith(segment, start)) return false;
    start = end + 1;
  }
  return matchesRest ? start <= path.length : start > path.length;
}

function invalid(text: string, reason: string): CellmeshError {
  return new CellmeshError(
    'path_pattern_invalid',
    `${JSON.stringify(text.slice(0, 200))} is no path pattern: ${reason}`,
  );
}
