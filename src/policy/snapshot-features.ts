import type { PolicySnapshot, SnapshotRule } from './snapshot.ts';

type Uses = (rule: SnapshotRule) => boolean;

/** What a rule may ask for beyond the first format: a receiver that overlooked it would allow more than was meant (PAINS.md P19). */
const ruleFeatures = {
  'policy.any-scope': ({ anyScope }) => anyScope !== undefined,
  'policy.actor': ({ actor }) => actor !== undefined,
  'policy.claims': ({ claims }) => claims.length > 0,
  'policy.until': ({ untilMs }) => untilMs !== undefined,
  'policy.limits': ({ limits }) => limits.length > 0,
  'policy.id-patterns': ({ idPatterns }) => idPatterns.length > 0,
  'policy.unmeshed': ({ isUnmeshedAllowed }) => isUnmeshedAllowed,
} as const satisfies Record<string, Uses>;

/** Bundles of trust domains of others: whoever gets them must keep their workloads from what is of the cell. */
export const federationFeature = 'bundles.federation';

/** All that this version can do with a policy. */
export const policyFeatures: readonly string[] = [
  ...Object.keys(ruleFeatures),
  'policy.candidate',
  'policy.router-ceiling',
  'policy.plaintext',
];

/** What a receiver of `snapshot` must be able to do: nothing that the snapshot does not use, so that older sidecars take what they can. */
export function requiredFeatures({
  rules,
  candidate,
  routerCarry,
  plaintextUntilMs,
}: PolicySnapshot): readonly string[] {
  const all = [...rules, ...(candidate?.rules ?? [])];
  return [
    ...Object.entries<Uses>(ruleFeatures).flatMap(([feature, isUsed]) => (all.some(isUsed) ? [feature] : [])),
    ...(candidate === undefined ? [] : ['policy.candidate']),
    ...(routerCarry === undefined ? [] : ['policy.router-ceiling']),
    ...(plaintextUntilMs === undefined ? [] : ['policy.plaintext']),
  ];
}
