import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { compileCell } from '#policy/compile.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { isCellmeshError } from '#runtime/errors.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/manifest.md'), 'utf8');
const blocks = [...page.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(([, kind, text]) => ({ kind, text: text! }));

describe('docs/manifest.md', () => {
  test('has examples that make a cell together', () => {
    const text = blocks.flatMap(({ kind, text }) => (kind === 'yaml' ? [text] : [])).join('---\n');
    const { cells, policies } = readDocuments(text, 'example.yaml');
    const compiled = compileCell(cells[0]!, policies);
    assert.deepEqual([cells.length, compiled.snapshots.size], [1, 5]);
  });

  test('has a call with retries and time-outs that goes into a manifest', () => {
    const call = blocks.find(({ kind }) => kind === 'yaml calls')!.text;
    const example = blocks.filter(({ kind }) => kind === 'yaml')[1]!.text;
    const { policies } = readDocuments(example.replace(/ {2}calls:\n[\s\S]*$/, call), 'example.yaml');
    assert.deepEqual(policies[0]!.calls[0]!.value.routes, [
      {
        methods: ['GET'],
        paths: policies[0]!.calls[0]!.value.routes[0]!.paths,
        timeouts: { headMs: 500, totalMs: 10_000 },
        retries: { attempts: 3, onReset: true, statuses: [503] },
      },
      { timeouts: { headMs: 2_000, totalMs: 10_000 }, retries: { attempts: 3, onReset: true, statuses: [503] } },
    ]);
    assert.equal(policies[0]!.calls[0]!.value.connectMs, 500);
  });

  test('has rules that go into a manifest', () => {
    const rules = blocks.flatMap(({ kind, text }) => (kind === 'yaml rule' ? [text] : []));
    const example = blocks.filter(({ kind }) => kind === 'yaml')[0]!.text;
    const read = rules.map((rule) =>
      readDocuments(example.replace(/ {2}allow:\n/, `  allow:\n${rule}`), 'example.yaml'),
    );
    const [unmeshed, first, second] = read.map(({ policies }) => policies[0]!.allow[0]!.value);
    assert.deepEqual(unmeshed!.from, [{ kind: 'unmeshed' }]);
    assert.deepEqual(first!.claims, [
      { pointer: '/plan', as: 'value', anyOf: ['pro', 'enterprise'] },
      { pointer: '/roles', as: 'list', anyOf: ['auditor'] },
      { pointer: '/client_id', as: 'value', anyOf: ['spiffe://cellmesh.localhost/router/local/router-1'] },
      { pointer: '/suspended', as: 'value', exists: false },
    ]);
    assert.deepEqual(second!.limits, [
      { per: 'account', perSecond: 10, burst: 50 },
      { per: 'rule', perSecond: 500, burst: 500 },
    ]);
  });

  test('has a time until when callers without TLS are heard', () => {
    const inbound = blocks.find(({ kind }) => kind === 'yaml inbound')!.text;
    const example = blocks.filter(({ kind }) => kind === 'yaml')[0]!.text;
    const { policies } = readDocuments(example + inbound, 'example.yaml');
    assert.equal(policies[0]!.plaintextUntilMs, Date.parse('2027-01-31T12:00:00Z'));
  });

  test('has a candidate and a ceiling that go into the documents of the cell', () => {
    const text = (wanted: string) => blocks.find(({ kind }) => kind === wanted)!.text;
    const all = blocks.flatMap(({ kind, text }) => (kind === 'yaml' ? [text] : []));
    const candidate = all[0]!.replace(/ {2}(expose|calls):.*\n( {4}.*\n)*/g, '') + text('yaml rollout');
    const cell = all.at(-1)! + text('yaml ceiling');
    const { cells, policies } = readDocuments([...all.slice(0, -1), candidate, cell].join('---\n'), 'example.yaml');
    const compiled = compileCell(cells[0]!, policies);
    assert.deepEqual(
      compiled.candidates.map(({ service, percent, newlyDeniedMax, requestsMin, isBesideEnforced }) => ({
        ...{ service, percent, newlyDeniedMax, requestsMin, isBesideEnforced },
      })),
      [{ service: 'messaging/api', percent: 10, newlyDeniedMax: 0.5, requestsMin: 1000, isBesideEnforced: true }],
    );
    const api = compiled.snapshots.get(compiled.candidates[0]!.id)!;
    assert.deepEqual(api.routerCarry, ['messages:read', 'messages:write']);
    assert.deepEqual(api.calls[0]!.carry, ['deliveries:create', 'deliveries:read']);
  });

  const wrong = blocks.flatMap(({ kind, text }, at) => (kind === 'yaml error' ? [[text, blocks[at + 1]!.text]] : []));

  test('shows several wrong ones', () => assert.equal(wrong.length, 5));

  for (const [text, said] of wrong) {
    test(`shows what is said of a wrong one: ${said!.split('\n')[0]}`, () => {
      assert.deepEqual(problemsOf(text!), said!.trimEnd().split('\n'));
    });
  }
});

function problemsOf(text: string): readonly string[] {
  try {
    const { cells, policies } = readDocuments(text, 'messaging.yaml');
    if (cells[0] !== undefined) compileCell(cells[0], policies);
    return [];
  } catch (error) {
    assert.ok(isCellmeshError(error, 'document_invalid'));
    return error.problems;
  }
}
