import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { rpcTable } from '#api/rpc-table.ts';
import {
  controlPlanePermissions,
  identityPermissions,
  operatorPermissions,
  type Permission,
  type Permissions,
} from '#cli/install/permissions.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import type { Resource } from '#kubernetes/resources.ts';
import { runCommand } from '../support/command.ts';
import { type KubernetesServer, startKubernetes } from '../support/kubernetes.ts';
import { createNamespace, createServiceAccount, createToken } from '../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';

const programs = kubernetesPrograms();
const room = join(import.meta.dirname, '../../src/kubernetes');

/** One verb on one resource, of all names or one: `get pods`, `patch configmaps cellmesh-trust-bundle`. */
function lines(permissions: readonly Permission[]): string[] {
  return permissions
    .flatMap(({ apiGroup, resource, verbs, names }) =>
      verbs.flatMap((verb) => {
        const what = `${verb} ${resource}${apiGroup === '' ? '' : `.${apiGroup}`}`;
        return names === undefined ? [what] : names.map((name) => `${what} ${name}`);
      }),
    )
    .sort();
}

interface Rule {
  readonly verbs: readonly string[];
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
}

function linesOf(rules: readonly Rule[]): string[] {
  return lines(
    rules.flatMap(({ verbs, apiGroups, resources, resourceNames: names }) =>
      apiGroups.flatMap((apiGroup) =>
        resources.map((resource) => ({ apiGroup, resource, verbs, ...(names && { names }), reason: '' })),
      ),
    ),
  );
}

const outcomeOf = (asking: Promise<unknown>) =>
  asking.then(
    () => 'allowed',
    (error) => error.reason ?? error,
  );
const anything = { isNamespaced: true, read: (object: unknown) => object } as const;
const configMaps: Resource<unknown> = { ...anything, apiVersion: 'v1', kind: 'ConfigMap', plural: 'configmaps' };
const secrets: Resource<unknown> = { ...anything, apiVersion: 'v1', kind: 'Secret', plural: 'secrets' };

describe('rights in a cluster', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  const clientOf = async (namespace: string, name: string): Promise<KubernetesClient> =>
    server.clientAs(await createToken(server, { namespace, name }));

  /** What the API server itself says that an account may, beyond what every account may. */
  async function rightsOf(account: { namespace: string; name: string }, namespace: string): Promise<string[]> {
    const review: Resource<Rule[]> = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectRulesReview',
      plural: 'selfsubjectrulesreviews',
      isNamespaced: false,
      read: (object) => (object as { status: { resourceRules: Rule[] } }).status.resourceRules,
    };
    const rights = async (one: { namespace: string; name: string }) =>
      linesOf(await (await clientOf(one.namespace, one.name)).review(review, { namespace }));
    const own = await rights(account);
    const everybodys = await rights({ namespace: 'shop', name: 'nobody' });
    assert.ok(everybodys.length > 0);
    return own.filter((line) => !everybodys.includes(line));
  }

  before(async () => {
    if ('skip' in programs) return;
    server = await startKubernetes(programs);
    for (const what of ['cell', 'global']) {
      const { code, stderr } = await runCommand(['install', what, '--apply', '--kubeconfig', server.kubeconfig]);
      assert.equal(code, 0, stderr);
    }
    await createNamespace(server, 'shop');
    await createServiceAccount(server, 'shop', 'nobody');
  });
  after(() => server?.[Symbol.asyncDispose]());

  const processes: readonly (readonly [string, string, Permissions])[] = [
    ['cellmesh', 'cellmesh-control-plane', controlPlanePermissions],
    ['cellmesh-global', 'cellmesh-identity', identityPermissions],
    ['cellmesh-global', 'cellmesh-router', { cluster: [], namespace: [] }],
    [
      'cellmesh',
      'cellmesh-operator',
      {
        cluster: operatorPermissions('cellmesh.certs.v1.Roots/', 'cellmesh.policy.', 'cellmesh.controlplane.'),
        namespace: [],
      },
    ],
    [
      'cellmesh-global',
      'cellmesh-operator',
      {
        cluster: operatorPermissions(
          'cellmesh.certs.v1.Roots/',
          'cellmesh.identity.',
          'cellmesh.policy.v1.DecisionLog/',
        ),
        namespace: [],
      },
    ],
  ];
  for (const [namespace, name, { cluster, namespace: own }] of processes) {
    test(`${namespace}/${name} may what the table says, in its namespace and in others, and nothing else`, async () => {
      const account = { namespace, name };
      assert.deepEqual(await rightsOf(account, namespace), lines([...cluster, ...own]));
      assert.deepEqual(await rightsOf(account, 'shop'), lines(cluster));
      assert.deepEqual(await rightsOf(account, 'kube-system'), lines(cluster));
    });
  }

  test('the control plane makes and changes its own objects by name, and no others', async () => {
    const client = await clientOf('cellmesh', 'cellmesh-control-plane');
    const apply = (resource: Resource<unknown>, namespace: string, name: string) =>
      outcomeOf(client.apply(resource, { namespace, name }, {}, { fieldManager: 'cellmesh-control-plane' }));
    for (const _ of ['made', 'changed']) {
      assert.equal(await apply(configMaps, 'shop', 'cellmesh-trust-bundle'), 'allowed');
      assert.equal(await apply(configMaps, 'cellmesh', 'cellmesh-replica-1'), 'allowed');
    }
    assert.equal(await apply(configMaps, 'shop', 'other'), 'Forbidden');
    assert.equal(await apply(configMaps, 'kube-system', 'cellmesh-replica-1'), 'Forbidden');
    assert.equal(await apply(secrets, 'shop', 'cellmesh-root'), 'Forbidden');
    for (const name of ['cellmesh-root', 'of-a-user']) {
      await server.send('POST', '/api/v1/namespaces/cellmesh/secrets', { metadata: { name } });
    }
    const reading = (name: string) => outcomeOf(client.get(secrets, { namespace: 'cellmesh', name }));
    assert.deepEqual([await reading('cellmesh-root'), await reading('of-a-user')], ['allowed', 'Forbidden']);
    assert.equal(await outcomeOf(client.list(secrets, { namespace: 'cellmesh' }).next()), 'Forbidden');
    assert.equal(
      await outcomeOf(client.delete(secrets, { namespace: 'cellmesh', name: 'cellmesh-root' })),
      'Forbidden',
    );
  });
});

describe('the table of rights', () => {
  test('has every kind of objects that the control plane asks the API server for', async () => {
    const all = [...controlPlanePermissions.cluster, ...controlPlanePermissions.namespace];
    const granted = new Set(all.map(({ apiGroup, resource }) => `${apiGroup}/${resource}`));
    const files = globSync(join(room, 'resources*.ts'));
    assert.ok(files.length > 0);
    for (const file of files) {
      for (const exported of Object.values(await import(file))) {
        if (typeof exported !== 'object' || exported === null || !('plural' in exported)) continue;
        const { apiVersion, plural } = exported as Resource<unknown>;
        const group = apiVersion.includes('/') ? apiVersion.split('/')[0] : '';
        // Who one is oneself everybody may ask (ClusterRole system:basic-user).
        if (plural === 'selfsubjectreviews') continue;
        assert.ok(granted.has(`${group}/${plural}`), `${group}/${plural}, which ${file} reads`);
      }
    }
  });

  test('gives nothing twice, and no verb or name for everything', () => {
    for (const { cluster, namespace } of [controlPlanePermissions, identityPermissions]) {
      const all = lines([...cluster, ...namespace]);
      assert.deepEqual(all, [...new Set(all)]);
      assert.ok(all.every((line) => !line.includes('*')));
    }
  });

  test('has every permission that an operator can need', () => {
    const both = [
      ...operatorPermissions('cellmesh.certs.v1.Roots/', 'cellmesh.policy.', 'cellmesh.controlplane.'),
      ...operatorPermissions('cellmesh.certs.v1.Roots/', 'cellmesh.identity.'),
    ];
    const needed = Object.values(rpcTable)
      .filter(({ callers }) => callers.includes('admin'))
      .map(({ permission }) => permission.split('.'))
      .map(([resource, verb]) => `${verb === 'read' ? 'get' : verb} ${resource}.cellmesh.io`);
    const given = new Set(lines(both));
    assert.deepEqual(new Set(needed.filter((line) => !line.startsWith('renew '))), given);
  });
});
