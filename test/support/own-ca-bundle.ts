import type { KubernetesServer } from './kubernetes.ts';

const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/cellmesh-injector';

interface Webhook {
  readonly name: string;
  readonly sideEffects: string;
  readonly admissionReviewVersions: readonly string[];
  readonly clientConfig: { readonly caBundle?: string };
}

/** Writes an authority into the injector's configuration, as the control plane does. Returns what it has written. */
export async function writeCaBundle(server: KubernetesServer): Promise<string> {
  const caBundle = Buffer.from(server.authority).toString('base64');
  // Of an entry of a list it says what the API server asks of every entry.
  const { name, sideEffects, admissionReviewVersions, clientConfig } = await injector(server);
  const webhook = { name, sideEffects, admissionReviewVersions, clientConfig: { ...clientConfig, caBundle } };
  const apiVersion = 'admissionregistration.k8s.io/v1';
  const metadata = { name: 'cellmesh-injector' };
  const applied = await server.request('PATCH', `${path}?fieldManager=cellmesh-control-plane`, {
    body: { apiVersion, kind: 'MutatingWebhookConfiguration', metadata, webhooks: [webhook] },
    contentType: 'application/apply-patch+yaml',
  });
  if (applied.status !== 200) throw new Error(JSON.stringify(applied.body));
  return caBundle;
}

export async function readCaBundle(server: KubernetesServer): Promise<string | undefined> {
  return (await injector(server)).clientConfig.caBundle;
}

async function injector(server: KubernetesServer): Promise<Webhook> {
  const { webhooks } = (await server.send('GET', path)) as unknown as { webhooks: Webhook[] };
  return webhooks[0]!;
}
