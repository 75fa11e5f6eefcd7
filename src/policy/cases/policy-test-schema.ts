import type { JsonSchema } from '../json-schema.ts';
import { policyTest } from './case-shapes.ts';

/** Tests of manifests, for editors: docs/policy-test.schema.json. What only the manifests or several fields together show is not in it. */
export function policyTestSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'cellmesh policy test',
    ...policyTest.schema,
  };
}
