import { textAt } from '#kubernetes/json.ts';
import { injectPod } from '../injector/inject-pod.ts';
import type { InjectorSettings } from '../injector/settings.ts';
import type { AdmissionRequest, AdmissionResponse } from './admission-review.ts';
import { jsonPatch } from './json-patch.ts';
import type { Manifests } from './manifests.ts';
import { namespacesLeftAlone } from './webhook-configurations.ts';

interface PodAdmission {
  readonly settings: InjectorSettings;
  /** What stands in the cluster, for the warning that a pod's service account has no policy; undefined while it is not known. */
  readonly manifests: Manifests | undefined;
  /** Of the control plane. */
  readonly namespace: string;
}

interface PodVerdict extends AdmissionResponse {
  readonly outcome: 'injected' | 'unchanged' | 'refused';
}

/** What becomes of a pod: it gets a sidecar, stays as it is, or is refused with every reason. */
export function admitPod(request: AdmissionRequest, { settings, manifests, namespace: own }: PodAdmission): PodVerdict {
  const { kind, subResource, operation, namespace, object } = request;
  if (kind.group !== '' || kind.kind !== 'Pod' || subResource !== '' || operation !== 'CREATE') {
    const what = `${operation} of ${kind.kind}${subResource === '' ? '' : `/${subResource}`}`;
    return {
      outcome: 'unchanged',
      isAllowed: true,
      warnings: [`cellmesh injects pods when they are created: ${what} passes`],
    };
  }
  // Whatever somebody has made of the webhook's selectors: a cluster, or a mesh, that waits for its own webhook never comes up.
  if (namespacesLeftAlone(own).includes(namespace)) return { outcome: 'unchanged', isAllowed: true };
  const injection = injectPod(object, settings);
  switch (injection.outcome) {
    case 'unchanged':
      return { outcome: 'unchanged', isAllowed: true };
    case 'refused': {
      const who = `pod ${namespace}/${nameOf(request)}`;
      return {
        outcome: 'refused',
        isAllowed: false,
        message: `${who} cannot get a sidecar: ${injection.reasons.join('; ')}`,
      };
    }
    case 'injected': {
      const account = injection.pod.spec.serviceAccountName ?? 'default';
      return {
        outcome: 'injected',
        isAllowed: true,
        patch: jsonPatch(object, injection.pod),
        warnings: withoutPolicy(manifests, namespace, account),
      };
    }
  }
}

function withoutPolicy(manifests: Manifests | undefined, namespace: string, serviceAccount: string): string[] {
  const isKnown = manifests?.policies.some(
    (policy) => policy.namespace === namespace && policy.serviceAccount === serviceAccount,
  );
  if (isKnown !== false) return [];
  return [
    `no ServicePolicy is about the service account ${namespace}/${serviceAccount}: until there is one, calls to this pod and by it are refused`,
  ];
}

/** Controllers leave the last part of a name to the API server, which makes it after it has asked. */
function nameOf({ name, object }: AdmissionRequest): string {
  if (name !== '') return name;
  const given = textAt(object, 'metadata', 'name');
  return given || `${textAt(object, 'metadata', 'generateName') ?? ''}*`;
}
