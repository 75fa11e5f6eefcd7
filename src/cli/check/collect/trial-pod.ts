import { annotationOf } from '#control-plane/injector/annotations.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { listAt, textAt } from '#kubernetes/json.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { sidecarName } from '#kubernetes/sidecar-ports.ts';
import type { TrialFacts } from '../cluster-facts.ts';

/** Under Pod Security `restricted` too. The service account that every namespace has. */
const trialPod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    generateName: 'cellmesh-check-',
    annotations: { [annotationOf('allowDefaultServiceAccount')]: 'true' },
  },
  spec: {
    serviceAccountName: 'default',
    restartPolicy: 'Never',
    securityContext: { runAsNonRoot: true, runAsUser: 65_534, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'main',
        image: 'none.invalid/none',
        resources: { requests: { cpu: '1m', memory: '1Mi' }, limits: { cpu: '1m', memory: '1Mi' } },
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
      },
    ],
  },
};

/** Sends a pod through all of admission (`dryRun=All`): nothing is kept of it. @throws KubernetesError where we may not */
export async function tryInjection(
  client: KubernetesClient,
  namespace: string,
  signal: AbortSignal,
): Promise<TrialFacts> {
  const body = { type: 'application/json', text: JSON.stringify(trialPod) };
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const query = { dryRun: 'All' };
  try {
    const pod = await client.ask({ method: 'POST', path, query, body, isRepeatable: false }, signal);
    const hasSidecar = listAt(pod, 'spec', 'initContainers').some((one) => textAt(one, 'name') === sidecarName);
    return { namespace, outcome: hasSidecar ? 'injected' : 'plain' };
  } catch (error) {
    const isOfWebhook = error instanceof KubernetesError && /\bwebhook\b/.test(error.message);
    if (!isOfWebhook) throw error;
    return { namespace, outcome: { refusal: error.message } };
  }
}
