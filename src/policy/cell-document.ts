import { parseTrustDomain, type TrustDomain, trustDomainBytesMax } from '#certs/spiffe-id.ts';
import type { Node, Position, Problems } from '#runtime/yaml-document.ts';
import { type CellId, cellIdPattern, parseCellId } from '#tokens/cell-id.ts';
import type { Scope } from '#tokens/scope.ts';
import { apiVersion, scope } from './manifest-shapes.ts';
import { dictionary, object, oneOf, parsed, required, text } from './shapes.ts';

/** A cell's own document: who it is, and every scope that may be spoken of in it. */
export interface CellDocument {
  readonly file: string;
  readonly at: Position;
  readonly id: CellId;
  readonly trustDomain: TrustDomain;
  /** The global trust domain, to which routers and `identity` belong. */
  readonly domain: TrustDomain;
  /** The `iss` of cell tokens. */
  readonly tokenIssuer: string;
  /** Each scope with a sentence that says what it allows. */
  readonly scopes: ReadonlyMap<Scope, string>;
}

const scopesMax = 2_000;
const sentence = text({ max: 512, what: 'a sentence' });

const trustDomain = parsed(parseTrustDomain, 'a trust domain', {
  pattern: '^[a-z0-9._-]+$',
  maxLength: trustDomainBytesMax,
});
const cellId = parsed(parseCellId, 'a cell id', { pattern: cellIdPattern.source });

export const cell = object({
  apiVersion: required(oneOf(apiVersion), 'Version of this format.'),
  kind: required(oneOf('Cell'), 'Who a cell is, and every scope that may be spoken of in it; one for each cell.'),
  metadata: required(
    object({ name: required(cellId, 'Id of the cell, `cell_id` in tokens.') }),
    'What the cell is called.',
  ),
  spec: required(
    object({
      trustDomain: required(trustDomain, "Trust domain of the cell's workloads."),
      domain: required(trustDomain, 'Trust domain of routers and identity.'),
      tokenIssuer: required(text({ max: 2048, what: 'an issuer' }), 'The `iss` of cell tokens.'),
      scopes: required(
        dictionary(scope, sentence, scopesMax),
        'The catalogue of scopes (`resource:action`), each with a sentence that says what it allows.',
      ),
    }),
    'The cell itself.',
  ),
});

/** Reads one `Cell` document; findings go to `problems`. */
export function readCellDocument(node: Node, file: string, problems: Problems): CellDocument | undefined {
  const document = cell(node, problems);
  if (document === undefined) return undefined;
  const { metadata, spec } = document;
  return {
    file,
    at: node.at,
    id: metadata.name,
    trustDomain: spec.trustDomain,
    domain: spec.domain,
    tokenIssuer: spec.tokenIssuer,
    scopes: new Map([...spec.scopes].map(([name, { value }]) => [name, value])),
  };
}
