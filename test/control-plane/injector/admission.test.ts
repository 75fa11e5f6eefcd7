import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Pod } from '#control-plane/injector/pod.ts';
import { goldenDirectory, podFiles, podsDirectory, readPodFile } from '../../support/injected-pods.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { type PodAdmission, startPodAdmission } from '../../support/pod-admission.ts';
import { restrictedViolations } from '../../support/restricted-profile.ts';

const programs = kubernetesPrograms();

/** Of a running pod: nobody creates one with them. */
const isOfRunningPod = (file: string) => file === 'ephemeral-containers.yaml';

function asPod({ metadata, spec }: Pod): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'tried', annotations: metadata?.annotations },
    // What controllers fill in from the template.
    spec: { ...spec, restartPolicy: spec['restartPolicy'] ?? 'Always' },
  };
}

describe('the API server', { skip: 'skip' in programs && programs.skip }, () => {
  let admission: PodAdmission;
  before(async () => {
    assert.ok(!('skip' in programs));
    admission = await startPodAdmission(programs);
  });
  after(() => admission[Symbol.asyncDispose]());

  for (const file of podFiles.filter((file) => !isOfRunningPod(file))) {
    test(`takes the injected pod of ${file}, under \`restricted\` where it took that before`, async () => {
      const given = readPodFile(podsDirectory, file).pod;
      const injected = readPodFile(goldenDirectory, file).pod;
      assert.equal(await admission.refusal(asPod(given), 'privileged'), undefined);
      assert.equal(await admission.refusal(asPod(injected), 'privileged'), undefined);
      const before = await admission.refusal(asPod(given), 'restricted');
      const after = await admission.refusal(asPod(injected), 'restricted');
      if (file === 'transparent.yaml') assert.match(after ?? '', /violates PodSecurity "restricted:latest".*NET_ADMIN/);
      else assert.equal(after === undefined, before === undefined, after ?? before ?? '');
    });

    test(`and our own reading of \`restricted\` agree about ${file}`, async () => {
      for (const directory of [podsDirectory, goldenDirectory]) {
        const { pod } = readPodFile(directory, file);
        const refusal = await admission.refusal(asPod(pod), 'restricted');
        assert.equal(restrictedViolations(pod).length === 0, refusal === undefined, refusal ?? 'it is taken');
      }
    });
  }

  test('and our own reading of `restricted` agree about each rule that is broken', async () => {
    const base = readPodFile(podsDirectory, 'job.yaml').pod;
    const [container] = base.spec.containers;
    const own = container!.securityContext;
    const ofPod = base.spec.securityContext;
    const withOwn = (securityContext: object) => ({ containers: [{ ...container!, securityContext }] });
    const broken: readonly object[] = [
      {},
      { hostNetwork: true },
      { hostPID: true },
      { volumes: [{ name: 'node', hostPath: { path: '/' } }] },
      { securityContext: { ...ofPod, runAsUser: 0 } },
      { securityContext: { ...ofPod, runAsNonRoot: false } },
      { securityContext: { ...ofPod, seccompProfile: { type: 'Unconfined' } } },
      withOwn({ ...own, runAsUser: 0 }),
      withOwn({ ...own, runAsNonRoot: false }),
      withOwn({ ...own, allowPrivilegeEscalation: true }),
      withOwn({ ...own, capabilities: { drop: ['NET_RAW'] } }),
      withOwn({ ...own, capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] } }),
      withOwn({ ...own, capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] } }),
      withOwn({ ...own, seccompProfile: { type: 'Unconfined' } }),
      { containers: [{ ...container!, ports: [{ containerPort: 1, hostPort: 1 }] }] },
      { containers: [{ ...container!, livenessProbe: { httpGet: { host: '10.0.0.1', port: 80 } } }] },
      { containers: [{ ...container!, lifecycle: { preStop: { httpGet: { host: '10.0.0.1', port: 80 } } } }] },
    ];
    for (const change of broken) {
      const pod = { spec: { ...base.spec, ...change } } as Pod;
      const refusal = await admission.refusal(asPod(pod), 'restricted');
      const violations = restrictedViolations(pod);
      assert.equal(violations.length === 0, refusal === undefined, `${violations} / ${refusal}`);
    }
  });
});
