import { cell } from './cell-document.ts';
import type { JsonSchema } from './json-schema.ts';
import { servicePolicy } from './manifest-shapes.ts';

/** Both kinds of documents, for editors: docs/manifest.schema.json. What only parsers and several fields together show is not in it. */
export function manifestSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'cellmesh manifest',
    oneOf: [
      { title: 'ServicePolicy', ...servicePolicy.schema },
      { title: 'Cell', ...cell.schema },
    ],
  };
}
