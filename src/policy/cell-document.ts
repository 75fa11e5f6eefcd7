import { parseTrustDomain, type TrustDomain, trustDomainBytesMax } from '#certs/spiffe-id.ts';
import type { TrustBundle } from '#certs/trust-bundle.ts';
import type { Node, Position, Problems } from '#runtime/yaml-document.ts';
import { type CellId, cellIdPattern, parseCellId } from '#tokens/cell-id.ts';
import type { Scope } from '#tokens/scope.ts';
import { type CallDefaults, callDefaults, callDefaultsOf } from './call-traffic.ts';
import { readFederation } from './federation.ts';
import { apiVersion } from './manifest-shapes.ts';
import { objectFields, scope, scopes, workloads } from './rule-shapes.ts';
import { dictionary, type Located, list, located, object, oneOf, optional, parsed, required, text } from './shapes.ts';
import type { WorkloadName } from './workload-name.ts';

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
  readonly scopes: ReadonlyMap<Scope, Located<string>>;
  readonly ceiling: readonly Located<CeilingEntry>[];
  readonly defaults?: CallDefaults;
  /** Trust domains of others, workloads of which rules may name. */
  readonly federation: readonly TrustBundle[];
}

/** The most that calls of one set of services to another may bring, whatever manifests say. */
export interface CeilingEntry {
  /** `serviceAccount: '*'`: every service of the namespace. */
  readonly from: WorkloadName | 'router' | 'any';
  readonly to: WorkloadName | 'any';
  readonly scopes: readonly Scope[];
}

const scopesMax = 2_000;
/** An object of Kubernetes has room for a dozen of them. */
const federatedBundleBytesMax = 65_536;
const sentence = text({ max: 512, what: 'a sentence' });

const trustDomain = parsed(parseTrustDomain, 'a trust domain', {
  pattern: '^[a-z0-9._-]+$',
  maxLength: trustDomainBytesMax,
});
const cellId = parsed(parseCellId, 'a cell id', { pattern: cellIdPattern.source });

const ceiling = object({
  from: required(workloads('router', 'any'), 'Who calls: namespace/service-account, namespace/*, `router` or `any`.'),
  to: required(workloads('any'), 'Who is called: namespace/service-account, namespace/* or `any`.'),
  scopes: required(scopes, 'The scopes that may come along at most.'),
});

const federation = object({
  trustDomain: required(trustDomain, 'Trust domain of others: neither of a cell, nor of routers and identity.'),
  trustBundle: required(
    text({ max: federatedBundleBytesMax, what: 'a trust bundle' }),
    'Its SPIFFE trust bundle, a JWK Set as JSON: who vouches for its workloads.',
  ),
});

export const cell = object({
  apiVersion: required(oneOf(apiVersion), 'Version of this format.'),
  kind: required(oneOf('Cell'), 'Who a cell is, and every scope that may be spoken of in it; one for each cell.'),
  metadata: required(
    object({ name: required(cellId, 'Id of the cell, `cell_id` in tokens.'), ...objectFields }),
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
      ceiling: optional(
        list(located(ceiling), { max: 1_000 }),
        'The most that calls may bring, whatever manifests say; every entry for a call cuts what it carries and what it has as its own.',
      ),
      defaults: optional(callDefaults, 'What holds for every manifest of the cell that does not say it itself.'),
      federation: optional(
        list(located(federation), { max: 16 }),
        'Trust domains of others, workloads of which rules may name one by one, by their SPIFFE IDs.',
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
    scopes: spec.scopes,
    ceiling: spec.ceiling ?? [],
    ...(spec.defaults && { defaults: callDefaultsOf(spec.defaults) }),
    federation: readFederation(spec.federation ?? [], spec, problems),
  };
}
