import assert from 'node:assert/strict';
import { applyDefinitions, pathOf } from '../kubernetes/policy-objects.ts';
import type { KubernetesServer } from './kubernetes.ts';
import { createNamespace } from './kubernetes-objects.ts';

export interface WrittenStatus {
  readonly observedGeneration?: number;
  readonly policyVersion?: string;
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  }[];
  readonly problems?: readonly { readonly field?: string; readonly message: string }[];
  readonly pods?: { readonly total: number; readonly programmed: number };
  readonly policies?: number;
  readonly accepted?: { readonly generation: number };
  readonly withdrawn?: { readonly version: string };
}

/** The definitions, and the namespace that the control plane is in. */
export async function prepareCluster(server: KubernetesServer): Promise<void> {
  await applyDefinitions(server);
  await createNamespace(server, 'cellmesh');
}

/** As `kubectl apply`, of a document in YAML. */
export async function applyObject(server: KubernetesServer, text: string): Promise<void> {
  const path = `${pathOf(text)}?fieldManager=test&force=true`;
  const { status, body } = await server.request('PATCH', path, {
    body: text,
    contentType: 'application/apply-patch+yaml',
  });
  assert.ok(status < 300, `${path}: ${status} ${JSON.stringify(body)}`);
}

export async function deleteObject(server: KubernetesServer, text: string): Promise<void> {
  await server.send('DELETE', pathOf(text));
}

export async function statusOf(server: KubernetesServer, text: string): Promise<WrittenStatus> {
  return ((await server.send('GET', pathOf(text)))['status'] ?? {}) as WrittenStatus;
}

/** `Accepted=True InForce` and so on. */
export function conditionsOf({ conditions = [] }: WrittenStatus): Readonly<Record<string, string>> {
  return Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status} ${reason}`]));
}

export async function deleteEverything(server: KubernetesServer): Promise<void> {
  for (const plural of ['cells', 'servicepolicies']) {
    const { items } = (await server.send('GET', `/apis/cellmesh.io/v1alpha1/${plural}`)) as { items: object[] };
    const kind = plural === 'cells' ? 'Cell' : 'ServicePolicy';
    for (const item of items) await deleteObject(server, JSON.stringify({ kind, ...item }));
  }
}
