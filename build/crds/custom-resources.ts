import { stringify } from 'yaml';
import { cell } from '#policy/cell-document.ts';
import type { JsonSchema } from '#policy/json-schema.ts';
import { apiVersion, servicePolicy } from '#policy/manifest-shapes.ts';
import { cellRules, policyRules } from './rules.ts';
import { cellStatus, servicePolicyStatus } from './status-schema.ts';
import { type Additions, type StructuralSchema, structuralSchema } from './structural-schema.ts';

/*
 * Both kinds of documents as CustomResourceDefinitions: what the readers' shapes say, and in CEL what several fields must hold together. An
 * API server knows less than the readers, and takes:
 * - fields that nobody knows, which it drops, unless its client asks for strict validation (as `kubectl` does);
 * - fields with `null`, which it drops too: a rule whose `scopes:` has nothing behind it needs none there;
 * - path patterns of more than 32 segments, and with percent-encoding that is not needed or must not be;
 * - SPIFFE IDs with segments `.` and `..`, or longer than 2048 bytes with their pattern;
 * - text that is longer than its limit in UTF-16, and in code points is not;
 * - trust bundles that are no bundle;
 * - whatever several objects must hold together: a second manifest of a service account, hosts, callees, scopes that the Cell does not have,
 *   candidates that are about more than `allow` and `mode`, peers of other trust domains.
 */

interface Kind {
  readonly kind: string;
  readonly plural: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly shortNames?: readonly string[];
  readonly schema: JsonSchema;
  readonly additions: Additions;
  readonly status: StructuralSchema;
  readonly columns: readonly Column[];
}

interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description?: string;
  /** 1: with `-o wide` only. */
  readonly priority?: 1;
}

const [group, version] = apiVersion.split('/') as [string, string];
const age: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };
const accepted: Column = {
  name: 'Accepted',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Accepted")].status',
  description: 'Whether it is in force.',
};
const reason: Column = {
  name: 'Reason',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Accepted")].reason',
  priority: 1,
};

const kinds: readonly Kind[] = [
  {
    kind: 'ServicePolicy',
    plural: 'servicepolicies',
    scope: 'Namespaced',
    shortNames: ['spol'],
    schema: servicePolicy.schema,
    additions: policyRules,
    status: servicePolicyStatus,
    columns: [
      { name: 'Service account', type: 'string', jsonPath: '.spec.serviceAccount' },
      { name: 'Mode', type: 'string', jsonPath: '.spec.mode' },
      accepted,
      { name: 'Programmed', type: 'integer', jsonPath: '.status.pods.programmed', description: 'Pods that have it.' },
      { name: 'Pods', type: 'integer', jsonPath: '.status.pods.total', description: 'Pods of the service.' },
      { name: 'Candidate', type: 'string', jsonPath: '.spec.rollout.percent', description: 'Percent.', priority: 1 },
      reason,
      age,
    ],
  },
  {
    kind: 'Cell',
    plural: 'cells',
    scope: 'Cluster',
    schema: cell.schema,
    additions: cellRules,
    status: cellStatus,
    columns: [
      { name: 'Trust domain', type: 'string', jsonPath: '.spec.trustDomain' },
      accepted,
      { name: 'Policies', type: 'integer', jsonPath: '.status.policies', description: 'ServicePolicies in force.' },
      reason,
      age,
    ],
  },
];

/** The texts of `k8s/crds`, by the names of the files. */
export function definitionFiles(): ReadonlyMap<string, string> {
  // Kubernetes reads YAML 1.1, where words like `on` are truth values.
  const style = { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false } as const;
  const textOf = (kind: Kind) => `# Made by \`npm run fix:crds\`.\n${stringify(definitionOf(kind), style)}`;
  return new Map(kinds.map((kind) => [`${kind.plural}.yaml`, textOf(kind)]));
}

function definitionOf({ kind, plural, scope, shortNames = [], columns, ...rest }: Kind): object {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, labels: { 'app.kubernetes.io/part-of': 'cellmesh' } },
    spec: {
      group,
      scope,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        ...(shortNames.length > 0 && { shortNames }),
        categories: ['cellmesh'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          schema: { openAPIV3Schema: objectSchema(rest) },
        },
      ],
    },
  };
}

/** Of `metadata` a definition may restrict the name alone; what it is otherwise, and `apiVersion` and `kind`, are the API server's own. */
function objectSchema({ schema, additions, status }: Pick<Kind, 'schema' | 'additions' | 'status'>): StructuralSchema {
  const { properties = {}, ...root } = structuralSchema(schema, additions);
  const { description = '' } = properties['kind'] ?? {};
  const { name } = properties['metadata']?.properties ?? {};
  return {
    ...root,
    description,
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object', properties: { name: name! } },
      spec: properties['spec']!,
      status,
    },
  };
}
