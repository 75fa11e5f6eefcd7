import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { definitionFiles } from '../../build/crds/custom-resources.ts';
import type { StructuralSchema } from '../../build/crds/structural-schema.ts';
import { type ApiServer, startApiServer } from '../support/kubernetes-api-server.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';
import {
  apply,
  applyAs,
  applyDefinitions,
  collectionOf,
  create,
  definitions,
  definitionsPath,
  pathOf,
  refusalOf,
} from './policy-objects.ts';
import { refusals, wholeCell, wholePolicy } from './whole-documents.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

describe('k8s/crds', () => {
  test('is what the shapes of the readers say; `npm run fix:crds` writes it', () => {
    const files = readdirSync(join(root, 'k8s/crds')).filter((file) => file !== 'kustomization.yaml');
    assert.deepEqual(new Map(files.map((file) => [file, read(`k8s/crds/${file}`)])), definitionFiles());
  });

  for (const { metadata, spec } of definitions) {
    const fields = [...fieldsOf(spec.versions[0].schema.openAPIV3Schema, '')].filter(
      ([at]) => !/^(apiVersion|kind)$/.test(at),
    );

    test(`has a bound on all that can grow in ${metadata.name}, or its conditions cost without end`, () => {
      const unbounded = fields.filter(
        ([, { type, maxItems, maxLength, maxProperties, additionalProperties, ...field }]) =>
          (type === 'array' && maxItems === undefined) ||
          (type === 'string' && field.enum === undefined && maxLength === undefined) ||
          (additionalProperties !== undefined && maxProperties === undefined),
      );
      assert.deepEqual(unbounded, []);
    });

    test(`says of every field of ${metadata.name} what it is, for kubectl explain`, () => {
      const silent = fields.filter(
        ([at, { description }]) => !/(\[\]|\{\}|^metadata)$/.test(at) && !/^\S.*\.$/.test(description ?? ''),
      );
      assert.deepEqual(silent, []);
    });
  }
});

const programs = kubernetesPrograms();
const skip = 'skip' in programs ? programs.skip : false;

describe('an API server', { skip }, () => {
  let api: ApiServer;
  before(async () => {
    if ('skip' in programs) return;
    api = await startApiServer(programs);
    await applyDefinitions(api);
  });
  after(() => api?.[Symbol.asyncDispose]());

  test('takes the definitions as structural, without a warning', async () => {
    for (const { metadata } of definitions) {
      const { status, body, warnings } = await api.request('GET', `${definitionsPath}/${metadata.name}`);
      const { conditions } = (body as { status: { conditions: { type: string; status: string }[] } }).status;
      assert.deepEqual(
        [status, warnings, conditions.map(({ type, status }) => `${type} ${status}`).sort()],
        [200, '', ['Established True', 'NamesAccepted True']],
      );
    }
  });

  test('takes the manifests of the examples', async () => {
    const files = globSync('examples/*/policy/*.yaml', { cwd: root }).filter((file) => !file.endsWith('.test.yaml'));
    assert.ok(files.length > 0);
    for (const file of files) await takes(read(file));
  });

  test('takes what docs/manifest.md shows', async () => {
    const blocks = [...read('docs/manifest.md').matchAll(/^```yaml( \w+)?\n([\s\S]*?)^```$/gm)];
    const shown = (kind: string | undefined) =>
      blocks.flatMap(([, written, text]) => (written === kind ? [text!] : []));
    const whole = shown(undefined);
    for (const text of whole) await takes(text);
    const [policy, cell] = [whole[0]!, whole.at(-1)!];
    for (const rule of shown(' rule')) await takes(policy.replace(/ {2}allow:\n/, (start) => start + rule));
    for (const calls of shown(' calls')) await takes(policy.replace(/ {2}calls:\n[\s\S]*$/, calls));
    for (const inbound of shown(' inbound')) await takes(policy + inbound);
    for (const rollout of shown(' rollout')) await takes(policy + rollout);
    for (const defaults of shown(' defaults')) await takes(cell + defaults);
    for (const federation of shown(' federation')) await takes(cell + federation);
    for (const ceiling of shown(' ceiling')) await takes(cell + ceiling);
  });

  test('takes documents in which every field is said, and reads them as we do', async () => {
    for (const text of [wholePolicy, wholeCell]) {
      assert.equal(refusalOf(text), '');
      const { body } = await takes(text);
      assert.deepEqual((body as { spec: object }).spec, parse(text).spec);
    }
  });

  test('takes the longest lists: no condition costs more than it may', async () => {
    const policy = parse(wholePolicy) as { spec: object };
    const cell = parse(wholeCell) as { spec: object };
    const ports = Array.from({ length: 64 }, (_, at) => ({ port: at + 1, protocol: 'grpc' }));
    const rule = { from: ['mail/two'], port: 64, grpc: { methods: ['S/*'] } };
    const allow = Array.from({ length: 10_000 }, (_, at) => ({ name: `r${at}`, ...rule }));
    const scope = (at: number) => `${'a'.repeat(32)}:${'b'.repeat(27)}${String(at).padStart(4, '0')}`;
    const scopes = Object.fromEntries(Array.from({ length: 2_000 }, (_, at) => [scope(at), 'c'.repeat(512)]));
    for (const [text, body] of [
      [wholePolicy, { ...policy, spec: { ...policy.spec, ports, allow } }],
      [wholeCell, { ...cell, spec: { ...cell.spec, scopes } }],
    ] as const) {
      const answer = await api.request('POST', `${collectionOf(text)}?dryRun=All`, { body });
      assert.equal(answer.status, 201, JSON.stringify(answer.body).slice(0, 1_000));
    }
  });

  for (const [from, to, said] of refusals) {
    test(`refuses \`${to.slice(0, 60).trim()}\` in place of \`${from.trim()}\`, as the reader does`, async () => {
      const text = (wholePolicy.includes(from) ? wholePolicy : wholeCell).replace(from, () => to);
      assert.ok(text !== wholePolicy && text !== wholeCell);
      assert.notEqual(refusalOf(text), '');
      const { status, body } = await create(api, text);
      assert.match((body as { message?: string }).message ?? 'taken', said);
      assert.equal(status, 422);
    });
  }

  test('refuses a field that nobody knows, where its client is strict', async () => {
    const { status, body } = await create(api, wholePolicy.replace('  allow:', '  alow: []\n  allow:'));
    assert.match((body as { message: string }).message, /strict decoding error: unknown field "spec\.alow"/);
    assert.equal(status, 400);
  });

  test('keeps rules that two managers apply, each its own', async () => {
    const rule = (name: string) =>
      wholePolicy.replace(/ {2}allow:\n[\s\S]*?(?= {2}rollout)/, `  allow: [{ name: ${name}, from: [mail/two] }]\n`);
    for (const manager of ['team', 'platform']) {
      const { status, body } = await applyAs(api, manager, rule(manager).replace('name: one', 'name: managed'));
      assert.ok(status < 300, JSON.stringify(body));
    }
    const { body } = await api.request('GET', pathOf(wholePolicy).replace(/one$/, 'managed'));
    const { allow } = (body as { spec: { allow: { name: string }[] } }).spec;
    assert.deepEqual(allow.map(({ name }) => name).sort(), ['platform', 'team']);
  });

  test('does not let a Cell change its trust domain', async () => {
    assert.equal((await applyAs(api, 'test', wholeCell)).status, 201);
    const { status, body } = await apply(api, wholeCell.replace('trustDomain: cell-1.', 'trustDomain: cell-2.'));
    assert.match(
      (body as { message: string }).message,
      /spec\.trustDomain: .*identities and tokens name the trust domain: it cannot change/,
    );
    assert.equal(status, 422);
  });

  test('keeps a status apart from the spec, and shows both in columns', async () => {
    assert.equal((await applyAs(api, 'test', wholePolicy)).status, 201);
    const path = pathOf(wholePolicy);
    const stored = (await api.request('GET', path)).body as { spec: object; metadata: { generation: number } };
    const lastTransitionTime = '2026-11-28T12:00:00Z';
    const status = {
      observedGeneration: 1,
      policyVersion: 'v1',
      pods: { total: 3, programmed: 2 },
      conditions: [
        { type: 'Accepted', status: 'True', reason: 'InForce', message: 'It is in force.', lastTransitionTime },
        { type: 'Programmed', status: 'False', reason: 'Waiting', message: '2 of 3 pods.', lastTransitionTime },
      ],
      problems: [{ field: 'spec.allow[0].scopes[0]', message: 'scope a:read is not in the catalogue' }],
    };
    const written = await api.request('PUT', `${path}/status`, {
      body: { ...stored, spec: { ...stored.spec, mode: 'audit' }, status },
    });
    const { spec, metadata, status: kept } = written.body as typeof stored & { status: object };
    assert.deepEqual([spec, metadata.generation, kept], [stored.spec, 1, status]);

    const { body } = await api.request('GET', collectionOf(wholePolicy), {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    });
    const { columnDefinitions, rows } = body as Table;
    const row = rows.find(({ object }) => object.metadata.name === 'one')!;
    assert.deepEqual(
      columnDefinitions.map(({ name }, at) => [name, name === 'Age' ? '' : row.cells[at]]),
      [
        ['Name', 'one'],
        ['Service account', 'one'],
        ['Mode', 'enforce'],
        ['Accepted', 'True'],
        ['Programmed', 2],
        ['Pods', 3],
        ['Candidate', '12.5'],
        ['Reason', 'InForce'],
        ['Age', ''],
      ],
    );
  });

  test('finds them by short names and by a category', async () => {
    const { body } = await api.request('GET', '/apis/cellmesh.io/v1alpha1');
    const { resources } = body as { resources: Resource[] };
    const names = resources
      .filter(({ name }) => !name.includes('/'))
      .map(({ name, shortNames, categories, namespaced }) => [name, shortNames, categories, namespaced] as const);
    assert.deepEqual(names.sort(), [
      ['cells', undefined, ['cellmesh'], false],
      ['servicepolicies', ['spol'], ['cellmesh'], true],
    ]);
  });

  async function takes(text: string) {
    let answer = { status: 0, body: undefined as unknown };
    for (const document of parseAllDocuments(text)) {
      answer = await apply(api, text.includes('\n---') ? document.toString() : text);
      assert.ok(answer.status < 300, `${JSON.stringify(answer.body)}\n${text.slice(0, 2_000)}`);
    }
    return answer;
  }
});

interface Resource {
  readonly name: string;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly namespaced: boolean;
}

interface Table {
  readonly columnDefinitions: readonly { readonly name: string }[];
  readonly rows: readonly {
    readonly cells: readonly unknown[];
    readonly object: { readonly metadata: { readonly name: string } };
  }[];
}

function* fieldsOf(schema: StructuralSchema, at: string): Generator<[string, StructuralSchema]> {
  if (at !== '') yield [at, schema];
  for (const [name, field] of Object.entries(schema.properties ?? {}))
    yield* fieldsOf(field, at === '' ? name : `${at}.${name}`);
  if (schema.items !== undefined) yield* fieldsOf(schema.items, `${at}[]`);
  if (schema.additionalProperties !== undefined) yield* fieldsOf(schema.additionalProperties, `${at}{}`);
}
