import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { runCommand } from '../support/command.ts';
import { installationValues } from '../support/installation-values.ts';
import { startKubernetes } from '../support/kubernetes.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';
import { readCaBundle, writeCaBundle } from '../support/own-ca-bundle.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { goProgram } from './parts.ts';

const helm = await goProgram('helm.sh/helm/v4/cmd/helm', 'v4.3.1');
const charts = join(import.meta.dirname, '../../k8s/charts');

interface Outcome {
  readonly code: number;
  readonly output: string;
}

describe('helm', 'skip' in helm ? { skip: helm.skip } : {}, () => {
  for (const [name, all] of Object.entries(installationValues)) {
    const chart = join(charts, `cellmesh-${name}`);
    for (const [what, values] of Object.entries(all)) {
      test(`makes of ${name} what \`cellmesh install\` prints: ${what}`, async () => {
        await using directory = await temporaryDirectory();
        const file = join(directory.path, 'values.yaml');
        await writeFile(file, JSON.stringify(values));
        const linted = await run(['lint', '--strict', chart, '--values', file]);
        assert.equal(linted.code, 0, linted.output);
        const where = ['--namespace', 'mesh-1', '--values', file];
        const rendered = await run(['template', 'mesh', chart, '--include-crds', ...where]);
        assert.equal(rendered.code, 0, rendered.output);
        const printed = await runCommand(['install', name, ...where]);
        assert.equal(printed.code, 0, printed.stderr);
        const expected = objectsIn(printed.stdout);
        // Helm makes the namespace by itself.
        assert.ok(expected.delete('Namespace mesh-1'));
        assert.ok(expected.size > 10);
        assert.deepEqual(objectsIn(rendered.output), expected);
      });
    }

    test(`refuses values of ${name} that there are not, or that are wrong, as \`cellmesh install\` does`, async () => {
      const wrong = name === 'cell' ? wrongOfCell : wrongOfGlobal;
      for (const setting of wrong) {
        const rendered = await run(['template', 'mesh', chart, '--set', setting]);
        assert.equal(rendered.code, 1, `${setting}: ${rendered.output}`);
        assert.match(rendered.output, /values don't meet the specifications of the schema/, setting);
        const printed = await runCommand(['install', name, '--set', setting]);
        assert.equal(printed.code, 64, `${setting}: ${printed.stdout}`);
      }
    });

    test(`says what to do next after ${name}`, async () => {
      const { output } = await run(['install', 'mesh', chart, '--dry-run=client', '--namespace', 'mesh-1']);
      assert.match(output, /NOTES:\n[\s\S]*kubectl/);
    });
  }
});

const programs = kubernetesPrograms();
const skip = ('skip' in helm && helm.skip) || ('skip' in programs && programs.skip);

describe('helm and an API server', { skip }, () => {
  test('install, upgrade and uninstall: what others write stays, and the kinds of objects', async () => {
    if ('skip' in programs) return;
    await using server = await startKubernetes(programs);
    await using directory = await temporaryDirectory();
    const exists = async (path: string) => (await server.request('GET', path)).status === 200;
    const settled = async (...args: readonly string[]) => {
      const home = ['HELM_CACHE_HOME', 'HELM_CONFIG_HOME', 'HELM_DATA_HOME'].map((name) => [name, directory.path]);
      const environment = { ...Object.fromEntries(home), KUBECONFIG: server.kubeconfig };
      const { code, output } = await run([...args, '--namespace', 'cellmesh'], environment);
      assert.equal(code, 0, output);
    };
    const chart = join(charts, 'cellmesh-cell');
    await settled('install', 'cell', chart, '--create-namespace');
    const deployment = '/apis/apps/v1/namespaces/cellmesh/deployments/cellmesh-control-plane';
    assert.ok(await exists(deployment));
    const caBundle = await writeCaBundle(server);
    await settled('upgrade', 'cell', chart, '--set', 'replicas=3', '--set', 'injector.mode=transparent');
    const { spec } = (await server.send('GET', deployment)) as { spec: { replicas: number } };
    assert.deepEqual([spec.replicas, await readCaBundle(server)], [3, caBundle]);
    const printed = await runCommand(['uninstall', 'cell', '--kubeconfig', server.kubeconfig]);
    assert.match(printed.stderr, /Helm has installed/);
    await settled('uninstall', 'cell');
    assert.equal(await exists(deployment), false);
    assert.ok(await exists('/apis/apiextensions.k8s.io/v1/customresourcedefinitions/cells.cellmesh.io'));
  });
});

const wrongOfCell = [
  'replica=2',
  'replicas=0',
  'replicas=two',
  'cell.id=A_B',
  'cell.name=x',
  'image.pullPolicy=Sometimes',
  'image.name=two words',
  'settings.svidLifetimes=1h',
  'settings.listen=0.0.0.0:1',
  'identity.address=nowhere',
  'networkPolicy.enabled=1',
  'networkPolicy.metrics=all',
  'injector.mode=magic',
  'stateSize=much',
];
const wrongOfGlobal = [
  'router.replicas=-1',
  'router.service.type=ExternalName',
  'router.service.port=70000',
  'router.settings.drains=1s',
  'identity.storage.size=big',
  'tokenIssuer=identity',
  'region=a/b',
];

/** By kind and name, without what says which program made them; files within are read. */
function objectsIn(text: string): Map<string, object> {
  const all = parseAllDocuments(text, { version: '1.1' }).map((document) => document.toJS());
  return new Map(
    all.filter(Boolean).map((object) => {
      const { kind, metadata, spec, data } = object;
      for (const { labels, annotations } of [metadata, spec?.template?.metadata ?? {}]) {
        if (labels !== undefined) delete labels['app.kubernetes.io/managed-by'];
        // Of what was rendered, which is another text.
        if (annotations?.['cellmesh.io/settings-digest']) annotations['cellmesh.io/settings-digest'] = 'digest';
      }
      for (const [file, content] of Object.entries(data ?? {})) {
        if (file.endsWith('.yaml')) data[file] = parseAllDocuments(`${content}`).map((one) => one.toJS());
      }
      return [`${kind} ${metadata.name}`, object];
    }),
  );
}

async function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  assert.ok('path' in helm);
  try {
    const { stdout } = await promisify(execFile)(helm.path, args, {
      maxBuffer: 16 * 1024 * 1024,
      env: { ...process.env, ...environment },
    });
    return { code: 0, output: stdout };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, output: `${stdout}${stderr}` };
  }
}
