import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readCellForm, readPolicyForm } from '#control-plane/controller/policy-form.ts';
import { resolvePolicy, type Versions } from '#control-plane/controller/resolve-policy.ts';
import { cells, servicePolicies } from '#kubernetes/resources-policy.ts';
import { compileCell } from '#policy/compile.ts';
import type { ServicePolicy } from '#policy/manifest.ts';

const names = ['a', 'b', 'c'] as const;

/** What a service calls, and whether the scope that it asks for there is in the catalogue. */
interface Written {
  readonly name: string;
  readonly calls: readonly string[];
  readonly isGood: boolean;
}

function cell() {
  const spec = {
    trustDomain: 'cell-1.example',
    domain: 'example',
    tokenIssuer: 'https://i',
    scopes: { 'a:read': 'R.' },
  };
  const object = cells.read({ metadata: { name: 'cell-1', generation: 1 }, spec });
  const form = readCellForm(object, spec, 1);
  return { title: 'Cell cell-1', createdAt: '', newest: form, accepted: form };
}

function formOf({ name, calls, isGood }: Written, generation: number) {
  const carry = [isGood ? 'a:read' : 'no:such'];
  const spec = {
    serviceAccount: name,
    mode: 'enforce',
    ports: [{ port: 80, protocol: 'http' }],
    calls: calls.map((to) => ({ to: `n/${to}`, carry })),
  };
  const object = servicePolicies.read({ metadata: { name, namespace: 'n', generation }, spec });
  return readPolicyForm(object, spec, generation);
}

/** Applies one after the other; what is in force is accepted. */
function applied(order: readonly Written[]) {
  const objects = new Map<string, Versions<ServicePolicy>>();
  let resolution = resolvePolicy(cell(), []);
  for (const written of order) {
    const before = objects.get(written.name);
    const generation = (before?.newest.generation ?? 0) + 1;
    const title = `ServicePolicy n/${written.name}`;
    objects.set(written.name, {
      title,
      createdAt: '',
      newest: formOf(written, generation),
      accepted: before?.accepted,
    });
    resolution = resolvePolicy(cell(), [...objects.values()]);
    for (const [name, versions] of objects)
      objects.set(name, { ...versions, accepted: resolution.rulings.get(versions.title)?.inForce });
  }
  return resolution;
}

const callsOf = (policies: readonly ServicePolicy[]) =>
  policies.map(({ name, calls }) => `${name}: ${calls.map(({ value }) => value.to.serviceAccount).join(' ')}`).sort();

const writtens = fc
  .tuple(
    ...names.map((name) =>
      fc.record({ isThere: fc.boolean(), calls: fc.subarray(names.filter((one) => one !== name)) }),
    ),
  )
  .map((some): Written[] =>
    some.flatMap(({ isThere, calls }, at) => (isThere ? [{ name: names[at]!, calls, isGood: true }] : [])),
  );

test('what is in force does not depend on the order, and is what is written but for calls of whom there is not', () => {
  fc.assert(
    fc.property(
      writtens.chain((some) => fc.tuple(fc.constant(some), fc.shuffledSubarray(some, { minLength: some.length }))),
      ([written, order]) => {
        const { policies, rulings } = applied(order);
        const there = new Set(written.map(({ name }) => name));
        const expected = written.map(({ name, calls }) => `${name}: ${calls.filter((to) => there.has(to)).join(' ')}`);
        assert.deepEqual(callsOf(policies), expected.sort());
        for (const { name, calls } of written) {
          const findings = rulings.get(`ServicePolicy n/${name}`)!.findings.map(({ message }) => message);
          const absent = calls.filter((to) => !there.has(to)).map((to) => `no manifest declares n/${to}`);
          assert.deepEqual(findings, absent);
        }
        compileCell(cell().newest.read!, policies);
      },
    ),
  );
});

test('a call is held against the catalogue though its callee is not there: that one comes and changes nothing of it', () => {
  const caller = { name: 'a', calls: ['b'], isGood: false };
  const callee = { name: 'b', calls: [], isGood: true };
  for (const order of [[caller], [caller, callee], [callee, caller]]) {
    const { rulings } = applied(order);
    const { inForce, findings } = rulings.get('ServicePolicy n/a')!;
    assert.equal(inForce, undefined);
    assert.match(findings.map(({ message }) => message).join(), /scope no:such is not in the catalogue/);
  }
});

test('a change that is refused leaves the form before it, whole where its callees are', () => {
  const callee = { name: 'b', calls: [], isGood: true };
  const order = [
    { name: 'a', calls: ['b'], isGood: true },
    { name: 'a', calls: ['b', 'c'], isGood: false },
  ];
  assert.deepEqual(callsOf(applied(order).policies), ['a: ']);
  assert.deepEqual(callsOf(applied([...order, callee]).policies), ['a: b', 'b: ']);
});
