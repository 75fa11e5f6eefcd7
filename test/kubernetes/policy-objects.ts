import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { readDocuments } from '#policy/read-documents.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import type { StructuralSchema } from '../../build/crds/structural-schema.ts';
import { eventually } from '../support/eventually.ts';
import type { ApiServer } from '../support/kubernetes-api-server.ts';
import { wholeCell, wholePolicy } from './whole-documents.ts';

const directory = join(import.meta.dirname, '../../k8s/crds');

interface Definition {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly versions: readonly [{ readonly schema: { readonly openAPIV3Schema: StructuralSchema } }] };
}
export const definitions = readdirSync(directory)
  .filter((file) => file !== 'kustomization.yaml')
  .map((file) => parse(readFileSync(join(directory, file), 'utf8')) as Definition);

interface Written {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
}

export const definitionsPath = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

/** The definitions of `k8s/crds`, and the namespaces `messaging` and `mail`. Resolves when objects can be made. */
export async function applyDefinitions(api: ApiServer): Promise<void> {
  for (const namespace of ['messaging', 'mail'])
    assert.equal(
      (await api.request('POST', '/api/v1/namespaces', { body: { metadata: { name: namespace } } })).status,
      201,
    );
  for (const definition of definitions) {
    const { status, body } = await api.request('POST', definitionsPath, { body: definition });
    assert.equal(status, 201, JSON.stringify(body));
  }
  for (const text of [wholePolicy, wholeCell])
    await eventually(async () => {
      const { status } = await api.request('GET', collectionOf(text));
      assert.equal(status, 200);
    });
}

export function collectionOf(text: string): string {
  const { kind, metadata } = parse(text) as Written;
  if (kind === 'Cell') return '/apis/cellmesh.io/v1alpha1/cells';
  return `/apis/cellmesh.io/v1alpha1/namespaces/${metadata.namespace}/servicepolicies`;
}

export function pathOf(text: string): string {
  return `${collectionOf(text)}/${(parse(text) as Written).metadata.name}`;
}

/** As `kubectl apply --server-side --field-manager`: the API server reads the text itself. */
export function applyAs(api: ApiServer, manager: string, text: string, options = '') {
  return api.request('PATCH', `${pathOf(text)}?fieldManager=${manager}&fieldValidation=Strict${options}`, {
    body: text,
    contentType: 'application/apply-patch+yaml',
  });
}

/** The same with `--dry-run=server`: nothing is kept. */
export function apply(api: ApiServer, text: string) {
  return applyAs(api, 'test', text, '&dryRun=All');
}

/** As `kubectl create --dry-run=server`. */
export function create(api: ApiServer, text: string) {
  return api.request('POST', `${collectionOf(text)}?fieldValidation=Strict&dryRun=All`, {
    body: text,
    contentType: 'application/yaml',
  });
}

/** What the reader says; nothing when it takes the text. */
export function refusalOf(text: string): string {
  try {
    readDocuments(text, 'one.yaml');
    return '';
  } catch (error) {
    assert.ok(isCellmeshError(error, 'document_invalid'));
    return error.problems.join('\n');
  }
}
