import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { injectManifests } from '#cli/inject/inject-manifests.ts';
import { injectPod } from '#control-plane/injector/inject-pod.ts';
import { environmentNameOf, loadConfig } from '#runtime/config.ts';
import { sidecarSettings } from '#sidecar/sidecar-config.ts';
import {
  goldenDirectory,
  podFiles,
  podsDirectory,
  readPodFile,
  testInjectorSettings,
} from '../../support/injected-pods.ts';
import { restrictedViolations } from '../../support/restricted-profile.ts';

const settings = testInjectorSettings();
const isRewriting = process.env['UPDATE_GOLDEN'] === '1';

/** By a transparent pod's own wish. */
const isTransparent = (file: string) => file === 'transparent.yaml';

describe('an injected manifest', () => {
  for (const file of podFiles) {
    test(`is as it was reviewed: ${file}`, () => {
      const { text } = readPodFile(podsDirectory, file);
      const injected = injectManifests(text, file, settings);
      assert.deepEqual(
        injected.results.map(({ outcome }) => outcome),
        ['injected'],
      );
      const golden = join(goldenDirectory, file);
      if (isRewriting) {
        mkdirSync(goldenDirectory, { recursive: true });
        writeFileSync(golden, injected.text);
      }
      assert.equal(
        injected.text,
        readFileSync(golden, 'utf8'),
        '`npm run fix:golden` writes what it is now: review it',
      );
    });

    test(`stays as it is when it is injected again: ${file}`, () => {
      const { text } = readPodFile(goldenDirectory, file);
      const again = injectManifests(text, file, testInjectorSettings({ image: 'another:2', cpuRequest: '2' }));
      assert.equal(again.text, text);
      assert.deepEqual(
        again.results.map(({ outcome }) => outcome),
        ['unchanged'],
      );
    });

    test(`is what is made of its value: ${file}`, () => {
      const injection = injectPod(readPodFile(podsDirectory, file).pod, settings);
      assert.ok(injection.outcome === 'injected');
      assert.deepEqual(readPodFile(goldenDirectory, file).pod, injection.pod);
    });

    test(`breaks no rule of \`restricted\` that it did not break before: ${file}`, () => {
      const before = restrictedViolations(readPodFile(podsDirectory, file).pod);
      const after = restrictedViolations(readPodFile(goldenDirectory, file).pod);
      const added = isTransparent(file)
        ? ['cellmesh-init: may run as root', 'cellmesh-init: runs as root', 'cellmesh-init: adds NET_ADMIN']
        : [];
      assert.deepEqual(new Set(after), new Set([...before, ...added]));
    });

    test(`gives the sidecar settings that it can use: ${file}`, () => {
      const { initContainers = [] } = readPodFile(goldenDirectory, file).pod.spec;
      const sidecar = initContainers.find(({ name }) => name === 'cellmesh-sidecar')!;
      assert.equal(initContainers.indexOf(sidecar), isTransparent(file) ? 1 : 0);
      const environment = Object.fromEntries(
        (sidecar['env'] as { name: string; value?: string }[]).map(({ name, value }) => [
          name,
          value ?? downward[name],
        ]),
      );
      const known = Object.keys(sidecarSettings).map(environmentNameOf);
      assert.deepEqual(
        Object.keys(environment).filter((name) => !known.includes(name)),
        [],
      );
      const config = loadConfig(sidecarSettings, { environment, flags: {} });
      assert.equal(config.controlPlane.port, 14010);
      assert.deepEqual(config.podAddresses, ['10.0.0.7', 'fd00::7']);
    });
  }

  test('has a reviewed file for each manifest, and no other', () => {
    assert.deepEqual(readdirSync(goldenDirectory).sort(), podFiles);
  });

  test('holds pods that are clean under `restricted`, and others', () => {
    const isClean = (file: string) => restrictedViolations(readPodFile(podsDirectory, file).pod).length === 0;
    assert.deepEqual(
      podFiles.filter((file) => !isClean(file)),
      ['ephemeral-containers.yaml', 'host-network.yaml', 'pod-security-conflicts.yaml'],
    );
  });
});

/** What Kubernetes puts in. */
const downward: Readonly<Record<string, string>> = {
  CELLMESH_NAMESPACE: 'messaging',
  CELLMESH_SERVICE_ACCOUNT: 'api',
  CELLMESH_ADVERTISE: '10.0.0.7',
  CELLMESH_POD_ADDRESSES: '10.0.0.7,fd00::7',
};
