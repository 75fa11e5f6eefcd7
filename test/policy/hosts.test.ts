import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { compileCell } from '#policy/compile.ts';
import { contradictions } from '#policy/contradictions.ts';
import { OutboundPolicy } from '#policy/decide-outbound.ts';
import { readManifests } from '#policy/read-manifests.ts';
import { parsePolicySnapshot, serializePolicySnapshot } from '#policy/snapshot.ts';

const apiVersion = 'cellmesh.io/v1alpha1';

interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly hosts?: readonly string[] | undefined;
}

const nameOf = ({ namespace, name }: Service) => `${namespace}/${name}`;

/** A cell in which everybody calls everybody. */
function cellOf(services: readonly Service[]) {
  const cell = { trustDomain: 'cell-1.example', domain: 'example', tokenIssuer: 'https://i', scopes: {} };
  const policies = services.map((service) => ({
    apiVersion,
    kind: 'ServicePolicy',
    metadata: { name: service.name, namespace: service.namespace },
    spec: {
      serviceAccount: service.name,
      mode: 'enforce',
      ports: [{ port: 80, protocol: 'http' }],
      expose: [{ hosts: [`${service.name}-${service.namespace}.example`], paths: ['/**'], auth: 'none' }],
      ...(service.hosts && { hosts: service.hosts }),
      calls: services.filter((other) => other !== service).map((other) => ({ to: nameOf(other) })),
    },
  }));
  const documents = [{ apiVersion, kind: 'Cell', metadata: { name: 'cell-1' }, spec: cell }, ...policies];
  return readManifests(new Map([['m.yaml', documents.map((one) => JSON.stringify(one)).join('\n---\n')]]));
}

/** What each service calls by a host: `namespace/name`. */
function finderOf(services: readonly Service[]) {
  const { cell, policies } = cellOf(services);
  const snapshots = [...compileCell(cell, policies).snapshots.values()];
  const byName = new Map(
    // As it comes to a sidecar.
    snapshots.map((one) => [one.service.name, new OutboundPolicy(parsePolicySnapshot(serializePolicySnapshot(one)))]),
  );
  return (caller: string, host: string) => byName.get(caller)!.findCall(host, 80)?.call.source.name;
}

function problemsOf(services: readonly Service[]): string[] {
  const { cell, policies } = cellOf(services);
  return contradictions(cell, policies).map(({ message }) => message);
}

describe('the name of a service alone', () => {
  const services = [
    { namespace: 'mail', name: 'api' },
    { namespace: 'mail', name: 'web' },
    { namespace: 'shop', name: 'api' },
    { namespace: 'shop', name: 'web' },
    { namespace: 'ops', name: 'probe' },
  ];
  const find = finderOf(services);

  test('means that of its own namespace to every caller', () => {
    assert.deepEqual(problemsOf(services), []);
    assert.equal(find('mail/web', 'api'), 'mail/api');
    assert.equal(find('shop/web', 'api'), 'shop/api');
  });

  test('means nothing to callers of other namespaces: with the namespace it does', () => {
    assert.equal(find('ops/probe', 'api'), undefined);
    for (const host of ['api.shop', 'api.shop.svc', 'api.shop.svc.cluster.local'])
      for (const caller of ['ops/probe', 'mail/web', 'shop/web']) assert.equal(find(caller, host), 'shop/api');
  });

  test('is heard by the service, also from older sidecars', () => {
    const { cell, policies } = cellOf(services);
    const { snapshots, routes } = compileCell(cell, policies);
    const [first] = snapshots.values();
    assert.deepEqual(first?.service.hosts, ['api', 'api.mail', 'api.mail.svc', 'api.mail.svc.cluster.local']);
    // Routers are in no namespace.
    assert.equal(routes.routes[0]?.authority, 'api.mail:80');
  });

  test('is whoever writes it out, in all of the cell, and nobody has it beside', () => {
    const written = { namespace: 'ops', name: 'gateway', hosts: ['api'] };
    assert.deepEqual(problemsOf([services[0]!, written]), ['host api belongs to mail/api already (m.yaml)']);
    assert.deepEqual(problemsOf([written, services[0]!, services[2]!]), [
      'host api belongs to ops/gateway already (m.yaml)',
      'host api belongs to ops/gateway already (m.yaml)',
    ]);
    const alone = [written, services[1]!];
    assert.equal(finderOf(alone)('mail/web', 'api'), 'ops/gateway');
  });
});

const namespaces = ['mail', 'shop', 'ops'];
const names = ['api', 'web'];
const hosts = fc.uniqueArray(fc.constantFrom('api', 'web', 'api.mail', 'other'), { minLength: 1, maxLength: 2 });
const services = fc.uniqueArray(
  fc.record({
    namespace: fc.constantFrom(...namespaces),
    name: fc.constantFrom(...names),
    hosts: fc.option(hosts, { nil: undefined, freq: 2 }),
  }),
  { selector: nameOf, minLength: 2 },
);

test('no two services of different namespaces are confused, whatever is written', () => {
  let together = 0;
  fc.assert(
    fc.property(services, (some) => {
      if (problemsOf(some).length > 0) return;
      together++;
      const find = finderOf(some);
      for (const host of [
        'api',
        'web',
        'other',
        ...namespaces.flatMap((one) => names.map((name) => `${name}.${one}`)),
      ]) {
        const writer = some.find((one) => one.hosts?.some((written) => written === host));
        for (const caller of some) {
          const own = some.find((one) => !one.hosts && one.name === host && one.namespace === caller.namespace);
          const qualified = some.find((one) => !one.hosts && `${one.name}.${one.namespace}` === host);
          const meant = writer ?? own ?? qualified;
          const expected = meant === undefined || meant === caller ? undefined : nameOf(meant);
          assert.equal(find(nameOf(caller), host), expected, `${nameOf(caller)} asks for ${host}`);
        }
      }
    }),
    { numRuns: 1000 },
  );
  assert.ok(together > 30, `only ${together} sets that hold together`);
});
