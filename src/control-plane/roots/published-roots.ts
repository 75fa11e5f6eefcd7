import type { RootsStatus } from '#certs/root-holder.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import { parseTrustBundle, serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { listAt, numberAt, textAt, textsAt, valueAt } from '#kubernetes/json.ts';

/** What everybody may know of the roots of a cell: what the leader publishes, and the other replicas hand on. */
export interface PublishedRoots {
  readonly bundle: TrustBundle;
  readonly status: RootsStatus;
  /** The last request for a rotation that was done, or refused. */
  readonly answered: RotationAnswer | undefined;
}

/** What a replica asks the leader for. */
export interface RotationRequest {
  /** Of this very request. */
  readonly id: string;
  readonly isUrgent: boolean;
}

interface RotationAnswer {
  readonly id: string;
  /** Why not. */
  readonly refusal: string | undefined;
}

/** In the control plane's namespace. */
export const rootsConfigMap = 'cellmesh-roots';

/** Its keys. The leader owns the first two, whoever asks last the third. */
export const publishedKeys = { bundle: 'trust-bundle.json', state: 'roots.json', request: 'rotate.json' } as const;

/** Thousands of sidecars can be waited for, and a ConfigMap that names them all would be written for each that answers. */
const namesMax = 20;

export function serializePublished({ bundle, status, answered }: PublishedRoots): Record<string, string> {
  const { waits } = status;
  const some = waits && { ...waits, for: shortened(waits.for) };
  return {
    [publishedKeys.bundle]: serializeTrustBundle(bundle),
    [publishedKeys.state]: JSON.stringify({ ...status, waits: some, answered }),
  };
}

/** @throws CellmeshError `trust_bundle_invalid` */
export function parsePublished(data: Readonly<Record<string, string>>, trustDomain: TrustDomain): PublishedRoots {
  const bundle = parseTrustBundle(data[publishedKeys.bundle] ?? '', trustDomain);
  const state = jsonOf(data[publishedKeys.state]);
  const answeredId = textAt(state, 'answered', 'id');
  const until = numberAt(state, 'waits', 'until');
  return {
    bundle,
    status: {
      sequence: bundle.sequence,
      roots: listAt(state, 'roots').map((root) => ({
        phase: textAt(root, 'phase') ?? '',
        serial: textAt(root, 'serial') ?? '',
        since: numberAt(root, 'since') ?? 0,
        until: numberAt(root, 'until'),
        notBefore: numberAt(root, 'notBefore') ?? 0,
        notAfter: numberAt(root, 'notAfter') ?? 0,
      })),
      waits: until === undefined ? undefined : { for: textsAt(state, 'waits', 'for'), until },
      beginsAt: numberAt(state, 'beginsAt'),
    },
    answered: answeredId === undefined ? undefined : { id: answeredId, refusal: textAt(state, 'answered', 'refusal') },
  };
}

/** Undefined when nobody has asked, or not so that it can be understood. */
export function parseRotationRequest(data: Readonly<Record<string, string>>): RotationRequest | undefined {
  const request = jsonOf(data[publishedKeys.request]);
  const id = textAt(request, 'id');
  return id === undefined ? undefined : { id, isUrgent: valueAt(request, 'isUrgent') === true };
}

function shortened(names: readonly string[]): readonly string[] {
  return names.length <= namesMax ? names : [...names.slice(0, namesMax), `${names.length - namesMax} more`];
}

function jsonOf(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? 'null');
  } catch {
    return undefined;
  }
}
