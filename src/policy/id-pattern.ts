import { parseSpiffeId, type TrustDomain, trustDomainOf } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { PathPattern } from './path-pattern.ts';

/** Whether a text means several SPIFFE IDs. */
export function isIdPattern(text: string): boolean {
  return text.startsWith('spiffe://') && text.includes('*');
}

/**
 * A SPIFFE ID some of whose path segments are `*` (one segment) or, last, `**` (the rest). The trust domain is written out.
 * @throws CellmeshError `spiffe_id_invalid`
 */
export function parseIdPattern(text: string): PathPattern {
  const segments = text.split('/');
  const matchesRest = segments.at(-1) === '**';
  const [, , domain, ...path] = matchesRest ? segments.slice(0, -1) : segments;
  if (domain?.includes('*') || path.some((segment) => segment !== '*' && segment.includes('*')))
    throw new CellmeshError(
      'spiffe_id_invalid',
      `${JSON.stringify(text.slice(0, 128))}: \`*\` stands for a whole segment of the path, \`**\` for the rest at the end`,
    );
  parseSpiffeId(text.replaceAll('*', 'x'));
  return Object.freeze({ text, segments: matchesRest ? segments.slice(0, -1) : segments, matchesRest });
}

export function trustDomainOfPattern({ text }: PathPattern): TrustDomain {
  return trustDomainOf(parseSpiffeId(text.replaceAll('*', 'x')));
}
