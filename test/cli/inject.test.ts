import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { runCommand } from '../support/command.ts';
import { goldenDirectory, podsDirectory } from '../support/injected-pods.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const settings = [
  ...['--image', 'registry.example/cellmesh:0.1.0', '--cell-id', 'cell-1', '--trust-domain', 'cell-1.example'],
  ...['--global-trust-domain', 'example', '--control-plane', 'cellmesh-control-plane.cellmesh.svc:14010'],
];
const inject = (input: string, ...args: string[]) => runCommand(['inject', '-f', '-', ...settings, ...args], input);

const others = `# A chart's head.
apiVersion: v1
kind: ConfigMap
metadata: {name: c,   namespace: messaging}   # as somebody likes it
data:
  job.yaml: |
    ---
    apiVersion: batch/v1
    kind: Job
---
apiVersion: batch.volcano.sh/v1alpha1
kind: Job
metadata: {name: not-kubernetes-own}
---
`;

describe('`inject`', () => {
  test('prints the documents of a file, the others as they are to the byte, and says what it did', async () => {
    const deployment = await readFile(join(podsDirectory, 'deployment.yaml'), 'utf8');
    const injected = await readFile(join(goldenDirectory, 'deployment.yaml'), 'utf8');
    const { code, stdout, stderr } = await inject(others + deployment);
    assert.deepEqual([code, stderr], [0, 'Deployment messaging/api: injected (explicit)\n']);
    assert.equal(stdout, others + injected);
    const again = await inject(stdout);
    assert.deepEqual(
      [again.code, again.stdout, again.stderr],
      [0, stdout, 'Deployment messaging/api: left as it is: it has a sidecar already\n'],
    );
  });

  test('reads files, settings from a file, and lists of JSON, whose objects it takes one by one', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'all.json');
    const config = join(directory.path, 'injector.yaml');
    const pod = (name: string, annotations = {}) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, annotations },
      spec: { serviceAccountName: name, containers: [{ name, image: 'a:1' }] },
    });
    const items = [pod('one'), { apiVersion: 'v1', kind: 'Secret' }, pod('two', { 'cellmesh.io/inject': 'disabled' })];
    await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    await writeFile(
      config,
      'image: registry.example/cellmesh:2\ncellId: cell-1\ntrustDomain: cell-1.example\nglobalTrustDomain: example\ncontrolPlane: control-plane:14010\n',
    );
    const { code, stdout, stderr } = await runCommand(['inject', '-f', file, '--config', config, '--json']);
    assert.deepEqual([code, stderr], [0, '']);
    const { results, documents } = JSON.parse(stdout);
    assert.deepEqual(results, [
      { kind: 'Pod', name: 'one', outcome: 'injected', mode: 'explicit' },
      { kind: 'Pod', name: 'two', outcome: 'unchanged', reasons: ['its annotation says so'] },
    ]);
    const [list] = documents;
    assert.equal(list.items[0].spec.initContainers[0].image, 'registry.example/cellmesh:2');
    assert.deepEqual(list.items.slice(1), items.slice(1));
  });

  test("leaves the cluster's own pods alone", async () => {
    const text = 'apiVersion: v1\nkind: Pod\nmetadata: {name: dns, namespace: kube-system}\nspec: {containers: []}\n';
    const { code, stdout, stderr } = await inject(text);
    assert.deepEqual([code, stdout], [0, text]);
    assert.equal(stderr, "Pod kube-system/dns: left as it is: it is the cluster's own\n");
  });

  test('prints nothing when one pod is refused, but every reason with its place', async () => {
    const text = `${others}apiVersion: v1
kind: Pod
metadata: { name: good }
spec: { serviceAccountName: good, containers: [{ name: good, image: "good:1" }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: api, namespace: messaging, annotations: { cellmesh.io/inject: disabled } }
spec: { template: { spec: { containers: [] } } }
---
apiVersion: v1
kind: Pod
metadata: { generateName: bad- }
spec: { hostNetwork: true, containers: [{ name: bad, image: "bad:1" }] }
`;
    const { code, stdout, stderr } = await inject(text);
    assert.deepEqual([code, stdout], [64, '']);
    assert.deepEqual(
      stderr
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/`.*/, '…')),
      [
        'cellmesh: stdin:19:1: Deployment messaging/api: cellmesh.io/inject: this belongs to the annotations of …',
        'cellmesh: stdin:24:1: Pod bad-: it runs as the service account …',
        `cellmesh: stdin:24:1: Pod bad-: it has the node's network (hostNetwork), so every process of the node could call out under its identity: do without, or set cellmesh.io/allow-host-network to "true" [injection_refused]`,
      ],
    );
    const { error } = JSON.parse((await inject(text, '--json')).stderr);
    assert.deepEqual([error.code, error.problems.length], ['injection_refused', 3]);
  });

  test('says what is wrong with a file, or with the settings', async () => {
    const broken = await inject('a: [');
    assert.equal(broken.code, 64);
    assert.match(broken.stderr, /^cellmesh: stdin:1:\d+: .* \[document_invalid\]/);
    const missing = await runCommand(['inject', '-f', '/nowhere.yaml', ...settings]);
    assert.equal(missing.code, 66);
    const unset = await runCommand(['inject', '-f', '-'], '');
    assert.equal(unset.code, 64);
    assert.match(unset.stderr, /--image \(or CELLMESH_IMAGE\) is missing/);
    assert.match(unset.stderr, /--control-plane \(or CELLMESH_CONTROL_PLANE\) is missing/);
  });
});
