import { parseTrustDomain, type TrustDomain } from '#certs/spiffe-id.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import type { Node, Problems } from '#runtime/yaml-document.ts';
import { type CellId, parseCellId } from '#tokens/cell-id.ts';
import { parseScope, type Scope } from '#tokens/scope.ts';
import { apiVersion } from './manifest.ts';
import { dictionary, object, oneOf, parsed, required, text } from './shapes.ts';

/** A cell's own document: who it is, and every scope that may be spoken of in it. */
export interface CellDocument {
  readonly file: string;
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

const cell = object({
  apiVersion: required(oneOf(apiVersion)),
  kind: required(oneOf('Cell')),
  metadata: required(object({ name: required(parsed(parseCellId, 'a cell id')) })),
  spec: required(
    object({
      trustDomain: required(parsed(parseTrustDomain, 'a trust domain')),
      domain: required(parsed(parseTrustDomain, 'a trust domain')),
      tokenIssuer: required(parsed((text) => text, 'an issuer')),
      scopes: required(dictionary(sentence, scopesMax)),
    }),
  ),
});

/** Reads one `Cell` document; findings go to `problems`. */
export function readCellDocument(node: Node, file: string, problems: Problems): CellDocument | undefined {
  const document = cell(node, problems);
  if (document === undefined) return undefined;
  const { metadata, spec } = document;
  const scopes = new Map<Scope, string>();
  for (const [name, { value, at }] of spec.scopes) {
    try {
      scopes.set(parseScope(name), value);
    } catch (error) {
      if (!isCellmeshError(error)) throw error;
      problems.add(at, error.message);
    }
  }
  return {
    file,
    id: metadata.name,
    trustDomain: spec.trustDomain,
    domain: spec.domain,
    tokenIssuer: spec.tokenIssuer,
    scopes,
  };
}
