import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { cell } from '#policy/cell-document.ts';
import type { JsonSchema } from '#policy/json-schema.ts';
import { servicePolicy } from '#policy/manifest-shapes.ts';
import { fuzzCount, fuzzSeed } from '../fuzz/budget.ts';
import { type ApiServer, startApiServer } from '../support/kubernetes-api-server.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';
import { applyDefinitions, create, refusalOf } from './policy-objects.ts';
import { changed, documentOf } from './random-documents.ts';

/** What only the reader knows (build/crds/custom-resources.ts). */
const isOfReaderOnly =
  /: "[^\n]*" is no path pattern: |: the trust bundle is refused: |: the SPIFFE ID |: a SPIFFE ID /;
const programs = kubernetesPrograms();

describe('the reader and an API server', { skip: 'skip' in programs ? programs.skip : false }, () => {
  let api: ApiServer;
  before(async () => {
    if ('skip' in programs) return;
    api = await startApiServer(programs);
    await applyDefinitions(api);
  });
  after(() => api?.[Symbol.asyncDispose]());

  for (const [kind, { schema }] of Object.entries({ ServicePolicy: servicePolicy, Cell: cell })) {
    const whole = documentOf(schema).map((document) => named(document, schema));

    test(`take the same random documents of ${kind}, and refuse the same`, async () => {
      const count = await agree(whole);
      assert.ok(count.taken > 10, JSON.stringify(count));
    });

    test(`refuse the same of a ${kind} in which one thing is odd`, async () => {
      const count = await agree(whole.filter((document) => refusalOf(JSON.stringify(document)) === '').chain(changed));
      assert.ok(count.taken > 5 && count.refused > 50, JSON.stringify(count));
    });
  }

  async function agree(documents: fc.Arbitrary<unknown>): Promise<{ taken: number; refused: number }> {
    const count = { taken: 0, refused: 0 };
    for (const document of fc.sample(documents, {
      numRuns: fuzzCount(150),
      seed: fuzzSeed,
    })) {
      const text = JSON.stringify(document);
      const problems = refusalOf(JSON.stringify(document, withoutNulls))
        .split('\n')
        .filter((problem) => problem !== '');
      const { status, body } = await create(api, text);
      const said = `${text}\nreader: ${problems.join('\n')}\nAPI server: ${status} ${(body as { message?: string }).message}`;
      if (status === 201)
        assert.ok(
          problems.every((problem) => isOfReaderOnly.test(problem)),
          said,
        );
      else assert.ok(problems.length > 0 && [400, 422].includes(status), said);
      if (status === 201) count.taken++;
      else count.refused++;
    }
    return count;
  }
});

function named(document: unknown, { properties }: JsonSchema): unknown {
  const isNamespaced = properties?.['metadata']?.properties?.['namespace'] !== undefined;
  return { ...(document as object), metadata: { name: 'one', ...(isNamespaced && { namespace: 'mail' }) } };
}

/** An API server drops fields with `null`; in lists it keeps them. */
function withoutNulls(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null));
}
