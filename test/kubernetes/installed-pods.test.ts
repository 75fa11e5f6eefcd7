import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { installations, type KubernetesObject, objectsOf } from '#cli/install/installations.ts';
import { defaultsOf, readValues } from '#cli/install/values.ts';
import { injectorSettings } from '#control-plane/injector/settings.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { identitySettings } from '#identity/settings.ts';
import { routerSettings } from '#router/settings.ts';
import type { Settings } from '#runtime/config.ts';
import { runCommand } from '../support/command.ts';
import { installationValues } from '../support/installation-values.ts';
import { type ApiServer, startApiServer } from '../support/kubernetes-api-server.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';

const programs = kubernetesPrograms();
const release = { namespace: 'mesh-1', managedBy: 'cellmesh', version: '0.1.0' };
const everything = 'everything else than by default';

function objectsWith(name: 'cell' | 'global', values: object): KubernetesObject[] {
  const file = { name: 'values.yaml', text: JSON.stringify(values) };
  const all = objectsOf(installations[name], readValues(installations[name].fields, { file, set: [] }), release);
  return [...all.values()].flat();
}

describe('what is installed', { skip: 'skip' in programs && programs.skip }, () => {
  let server: ApiServer;

  before(async () => {
    if (!('skip' in programs)) server = await startApiServer(programs);
  });
  after(() => server?.[Symbol.asyncDispose]());

  for (const name of ['cell', 'global'] as const) {
    for (const [what, values] of Object.entries(installationValues[name]!)) {
      test(`pods of ${name} are taken by a namespace that enforces \`restricted\`: ${what}`, async () => {
        const namespace = (await runCommand(['install', name, '--namespace', 'mesh-1', '--json'])).stdout;
        const { items } = JSON.parse(namespace) as { items: KubernetesObject[] };
        const own = items.find(({ kind }) => kind === 'Namespace');
        await server.request('POST', '/api/v1/namespaces', { body: own });
        const owners = objectsWith(name, values).filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
        assert.ok(owners.length > 0);
        for (const { metadata, spec } of owners) {
          const { template, volumeClaimTemplates = [] } = spec as {
            template: { spec: { volumes: object[] } };
            volumeClaimTemplates?: { metadata: { name: string } }[];
          };
          // As the controller of StatefulSets does.
          const claims = volumeClaimTemplates.map((one) => ({
            name: one.metadata.name,
            persistentVolumeClaim: { claimName: one.metadata.name },
          }));
          const pod = {
            ...template,
            metadata: { name: metadata.name },
            spec: { ...template.spec, volumes: [...template.spec.volumes, ...claims] },
          };
          const path = '/api/v1/namespaces/mesh-1/pods?dryRun=All&fieldValidation=Strict';
          const { priorityClassName: _, ...rest } = pod.spec as Record<string, unknown>;
          const { status, body } = await server.request('POST', path, { body: { ...pod, spec: rest } });
          assert.equal(status, 201, JSON.stringify(body));
          const rooted = { ...rest, securityContext: { runAsUser: 0 } };
          const refused = await server.request('POST', path, { body: { ...pod, spec: rooted } });
          assert.equal(refused.status, 403, 'the namespace does not enforce it');
        }
      });

      test(`every object of ${name} is valid to the API server: ${what}`, async () => {
        const group = (apiVersion: string) => (apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`);
        for (const object of objectsWith(name, values)) {
          if (object.kind === 'PodMonitor') continue;
          const plural = object.kind === 'NetworkPolicy' ? 'networkpolicies' : `${object.kind.toLowerCase()}s`;
          const where = object.metadata.namespace === undefined ? '' : '/namespaces/default';
          const metadata = { ...object.metadata, ...(where !== '' && { namespace: 'default' }) };
          const path = `${group(object.apiVersion)}${where}/${plural}?dryRun=All&fieldValidation=Strict`;
          const { status, body, warnings } = await server.request('POST', path, { body: { ...object, metadata } });
          assert.deepEqual([status, warnings], [201, ''], `${object.kind}: ${JSON.stringify(body)}`);
        }
      });
    }

    test(`kustomize makes of the base of ${name} what it holds`, async () => {
      assert.ok(!('skip' in programs));
      const base = join(import.meta.dirname, '../../k8s/base', name);
      const { stdout } = await promisify(execFile)(programs.kubectl, ['kustomize', base], { maxBuffer: 2 ** 24 });
      const built = parseAllDocuments(stdout, { version: '1.1' }).map((one) => one.toJS() as KubernetesObject);
      const { namespace, fields, hasDefinitions } = installations[name];
      const expected = objectsOf(installations[name], defaultsOf(fields), {
        ...release,
        namespace,
        managedBy: 'kustomize',
      });
      const found = new Map(built.map((one) => [`${one.kind} ${one.metadata.name}`, one]));
      assert.ok(found.delete(`Namespace ${namespace}`));
      const definitions = [...found.keys()].filter((key) => key.startsWith('CustomResourceDefinition '));
      assert.equal(definitions.length, hasDefinitions ? 2 : 0);
      for (const key of definitions) found.delete(key);
      const all = [...expected.values()].flat();
      assert.deepEqual(found, new Map(all.map((one) => [`${one.kind} ${one.metadata.name}`, one])));
    });
  }
});

describe('settings of the processes', () => {
  const settings: Readonly<Record<string, Settings>> = {
    'control-plane': controlPlaneSettings,
    identity: identitySettings,
    router: routerSettings,
  };

  test('that an installation gives are there, and have values that can be used', () => {
    const check = (component: string, known: Settings, text: string) => {
      for (const [key, value] of Object.entries(parseAllDocuments(text)[0]!.toJS() as object)) {
        assert.ok(known[key] !== undefined, `${component}: ${key}`);
        known[key].parse(String(value));
      }
    };
    for (const [name, values] of [
      ['cell', {}],
      ['cell', installationValues['cell']![everything]!],
      ['global', {}],
      ['global', installationValues['global']![everything]!],
    ] as const) {
      for (const { kind, metadata, data } of objectsWith(name, values)) {
        if (kind !== 'ConfigMap') continue;
        const component = metadata.labels!['app.kubernetes.io/component']!;
        const { 'config.yaml': config, 'injector.yaml': injector } = data as Record<string, string>;
        if (config !== undefined) check(component, settings[component]!, config);
        if (injector !== undefined) check('injector', injectorSettings, injector);
      }
    }
  });
});
