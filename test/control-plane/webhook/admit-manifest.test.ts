import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import type { AdmissionRequest } from '#control-plane/webhook/admission-review.ts';
import { admitManifest } from '#control-plane/webhook/admit-manifest.ts';
import type { Manifests } from '#control-plane/webhook/manifests.ts';
import { readManifestObject } from '#policy/read-object.ts';
import { wholeCell, wholePolicy } from '../../kubernetes/whole-documents.ts';

/** Within 90 days of the end of `inbound` in the whole document. */
const nowMs = Date.UTC(2027, 0, 15);
const cell = parse(wholeCell);

function policyOf(name: string, spec: object = {}) {
  const base = { serviceAccount: name, mode: 'enforce', ports: [{ port: 80, protocol: 'http' }] };
  return {
    apiVersion: 'cellmesh.io/v1alpha1',
    kind: 'ServicePolicy',
    metadata: { name, namespace: 'mail' },
    spec: { ...base, ...spec },
  };
}

function manifestsOf(...objects: readonly object[]): Manifests {
  const read = objects.map(readManifestObject);
  assert.deepEqual(
    read.flatMap(({ problems }) => problems),
    [],
  );
  return { cell: read.find((one) => one.cell)?.cell, policies: read.flatMap(({ policy }) => policy ?? []) };
}

type Kind = { readonly kind: string; readonly metadata: { readonly name: string; readonly namespace?: string } };

function request(operation: AdmissionRequest['operation'], object: Kind, oldObject?: object): AdmissionRequest {
  return {
    uid: 'u',
    kind: { group: 'cellmesh.io', version: 'v1alpha1', kind: object.kind },
    subResource: '',
    name: object.metadata.name,
    namespace: object.metadata.namespace ?? '',
    operation,
    object: operation === 'DELETE' ? undefined : object,
    oldObject: operation === 'DELETE' ? object : oldObject,
  };
}

const create = (object: Kind, manifests: Manifests | undefined) =>
  admitManifest(request('CREATE', object), manifests, nowMs);
const rule = (more: object = {}) => ({
  name: 'r',
  from: ['mail/two'],
  http: { paths: ['/a'] },
  scopes: ['a:read'],
  ...more,
});

describe('a manifest', () => {
  test('is read in the fields that its author writes, whatever Kubernetes keeps beside them', () => {
    const managed = { f: { '.': {} } };
    const object = {
      ...parse(wholePolicy.replace(/ {2}rollout.*\n/, '')),
      status: { conditions: [] },
    };
    object.metadata = {
      ...object.metadata,
      uid: 'u',
      generation: 2,
      managedFields: [{ manager: 'x', fieldsV1: managed }],
    };
    const { outcome, warnings, message } = create(object, manifestsOf(cell));
    assert.equal(outcome, 'accepted', message ?? '');
    assert.match(warnings!.join('\n'), /spec\.calls\[0\]: no manifest declares mail\/two/);
  });

  test('is refused by field where the reader says more than the schema', () => {
    const { message } = create(
      policyOf('one', { allow: [rule({ until: '2027-02-30T00:00:00Z' })] }),
      manifestsOf(cell),
    );
    assert.match(message ?? '', /^ServicePolicy mail\/one: spec\.allow\[0\]\.until: /);
  });

  test('is not asked about when its spec is as it was: labels, finalizers and the like go on', () => {
    const bad = policyOf('one', { allow: [rule({ scopes: ['no:such'] })] });
    const labelled = { ...bad, metadata: { ...bad.metadata, labels: { a: 'b' } } };
    assert.equal(admitManifest(request('UPDATE', labelled, bad), manifestsOf(cell, bad), nowMs).outcome, 'unchanged');
    const changed = { ...bad, spec: { ...bad.spec, mode: 'audit' } };
    const before = manifestsOf(cell, policyOf('one'));
    assert.equal(admitManifest(request('UPDATE', changed, policyOf('one')), before, nowMs).outcome, 'refused');
  });

  test('is not held for what was wrong before, in itself or elsewhere', () => {
    const bad = policyOf('other', { allow: [rule({ scopes: ['no:such'] })] });
    const old = policyOf('one', { allow: [rule({ until: '2020-01-01T00:00:00Z' })] });
    const manifests = manifestsOf(cell, bad, old);
    const changed = { ...old, spec: { ...old.spec, mode: 'audit' } };
    const verdict = admitManifest(request('UPDATE', changed, old), manifests, nowMs);
    assert.equal(verdict.outcome, 'accepted', verdict.message ?? '');
    assert.match(verdict.warnings!.join(), /\(rule-expired\)/);
    assert.equal(create(policyOf('three', old.spec), manifestsOf(cell)).outcome, 'refused');
  });

  test('that takes away whom others need says so, and what others claim already is refused', () => {
    const caller = policyOf('two', { calls: [{ to: 'mail/one' }] });
    const manifests = manifestsOf(cell, policyOf('one'), caller);
    const renamed = policyOf('one', { serviceAccount: 'uno' });
    const verdict = admitManifest(request('UPDATE', renamed, policyOf('one')), manifests, nowMs);
    assert.match(verdict.warnings!.join('\n'), /ServicePolicy mail\/two: no manifest declares mail\/one/);
    assert.match(
      create(policyOf('new', { hosts: ['two'] }), manifests).message!,
      /spec\.hosts\[0\]: host two belongs to mail\/two already/,
    );
  });

  test('waits until what stands in the cluster is known', () => {
    assert.match(
      create(policyOf('one'), undefined).message!,
      /has not read the manifests of the cluster yet: try again/,
    );
  });

  test('of another kind is refused, since nobody here knows it', () => {
    assert.match(create({ kind: 'Gateway', metadata: { name: 'x' } }, manifestsOf(cell)).message!, /not Gateway/);
  });

  test('goes when it is told to; a cell only after its policies', () => {
    const manifests = manifestsOf(cell, policyOf('one'));
    assert.equal(admitManifest(request('DELETE', policyOf('one')), manifests, nowMs).outcome, 'accepted');
    assert.match(
      admitManifest(request('DELETE', cell), manifests, nowMs).message!,
      /^1 ServicePolicy object still stands in the cluster/,
    );
    assert.equal(admitManifest(request('DELETE', cell), manifestsOf(cell), nowMs).outcome, 'accepted');
  });
});

test('a manifest beside a thousand others is judged in well under a second', () => {
  const name = (at: number) => `s${at}`;
  const objects = Array.from({ length: 1_000 }, (_, at) =>
    policyOf(name(at), {
      allow: Array.from({ length: 5 }, (_, index) =>
        rule({ name: `r${index}`, from: [`mail/${name((at + index + 1) % 1_000)}`], http: { paths: [`/a/${index}`] } }),
      ),
      calls: Array.from({ length: 5 }, (_, index) => ({ to: `mail/${name((at + 999 - index) % 1_000)}` })),
    }),
  );
  const manifests = manifestsOf(cell, ...objects);
  const [first] = objects;
  const changed = { ...first!, spec: { ...first!.spec, mode: 'audit' } };
  // Of this process: what others do on the machine is not ours.
  const times = Array.from({ length: 5 }, () => {
    const start = process.cpuUsage();
    const { outcome, message } = admitManifest(request('UPDATE', changed, first), manifests, nowMs);
    assert.equal(outcome, 'accepted', message ?? '');
    return process.cpuUsage(start).user / 1000;
  });
  const median = times.toSorted((one, other) => one - other)[2]!;
  assert.ok(median < 1_000, `${median} ms`);
});
