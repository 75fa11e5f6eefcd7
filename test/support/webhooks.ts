import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ManifestSource, Manifests } from '#control-plane/webhook/manifests.ts';
import { openWebhooks, type Webhooks } from '#control-plane/webhook/open-webhooks.ts';
import { webhookConfigurations } from '#control-plane/webhook/webhook-configurations.ts';
import { Informer } from '#kubernetes/informer.ts';
import type { Resource } from '#kubernetes/resources.ts';
import { readManifestObject } from '#policy/read-object.ts';
import { systemClock } from '#runtime/clock.ts';
import { type Logger, silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import { eventually } from './eventually.ts';
import { injectorSettingsText } from './injected-pods.ts';
import type { KubernetesServer } from './kubernetes.ts';

const surroundings = { clock: systemClock, random: systemRandom };

/** Manifests as the API server of a test has them. */
export interface FollowedManifests extends ManifestSource, AsyncDisposable {}

type Read = ReturnType<typeof readManifestObject>;

export function followManifests({ client }: KubernetesServer): FollowedManifests {
  const objects = new Map<string, Read>();
  const follow = (kind: string, plural: string, isNamespaced: boolean) => {
    const resource: Resource<Read> = {
      apiVersion: 'cellmesh.io/v1alpha1',
      ...{ kind, plural, isNamespaced },
      // Objects in a list do not say what they are.
      read: (object) => readManifestObject({ ...(object as object), apiVersion: 'cellmesh.io/v1alpha1', kind }),
    };
    return new Informer({
      ...{ client, resource, ...surroundings, logger: silentLogger },
      keyOf: ({ file }) => file,
      onChange: (now, before) => void (now ? objects.set(now.file, now) : objects.delete(before!.file)),
    });
  };
  const informers = [follow('Cell', 'cells', false), follow('ServicePolicy', 'servicepolicies', true)];
  return {
    current(): Manifests | undefined {
      if (informers.some(({ ageMs }) => ageMs === Number.POSITIVE_INFINITY)) return undefined;
      const all = [...objects.values()];
      return {
        cell: all.find(({ cell }) => cell !== undefined)?.cell,
        policies: all.flatMap(({ policy }) => policy ?? []),
      };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(informers.map((informer) => informer[Symbol.asyncDispose]()));
    },
  };
}

type Options = Parameters<typeof openWebhooks>[0];

/** Webhooks at a port of this machine, as `localhost`; nobody has told the API server of them. */
export async function startWebhooks(
  server: KubernetesServer,
  {
    logger = silentLogger,
    leadership = new WatchSource(true),
    ...options
  }: Pick<Options, 'authority' | 'manifests'> & { logger?: Logger; leadership?: Watch<boolean> },
): Promise<Webhooks> {
  const injector = join(server.directory, 'injector.yaml');
  await writeFile(injector, injectorSettingsText());
  const config = { webhook: { host: '127.0.0.1', port: 0 }, webhookHost: 'localhost', injector };
  const connection = { client: server.client, namespace: 'cellmesh', leadership };
  return openWebhooks({ ...surroundings, logger, connection, config, ...options });
}

interface Configuration {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly webhooks: readonly { readonly clientConfig: { readonly service: { readonly path: string } } }[];
}

export const configurationPath = ({ kind, name }: { kind: string; name: string }) =>
  `/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}s/${name}`;

/** What an installation applies, but with the port of this machine in place of a Service. */
export async function applyWebhookConfigurations(server: KubernetesServer, port: number): Promise<string> {
  let warnings = '';
  const { injector, policies } = webhookConfigurations({
    namespace: 'cellmesh',
    service: { name: 'cellmesh', port: 443 },
    metadataOf: (name) => ({ name }),
  });
  for (const { webhooks, ...object } of [injector, policies] as Configuration[]) {
    const body = {
      ...object,
      webhooks: webhooks.map(({ clientConfig, ...webhook }) => ({
        ...webhook,
        clientConfig: { url: `https://localhost:${port}${clientConfig.service.path}` },
      })),
    };
    const path = configurationPath({ kind: object.kind, name: object.metadata.name });
    const answer = await server.request(
      'PATCH',
      `${path}?fieldManager=cellmesh-install&force=true&fieldValidation=Strict`,
      {
        body,
        contentType: 'application/apply-patch+yaml',
      },
    );
    if (answer.status >= 300) throw new Error(JSON.stringify(answer.body));
    warnings += answer.warnings;
  }
  return warnings;
}

/** Resolves when the API server calls, and trusts whom it calls. */
export async function untilCalled(server: KubernetesServer, namespace: string): Promise<void> {
  await eventually(async () => {
    const { status, body } = await server.request('POST', `/api/v1/namespaces/${namespace}/pods?dryRun=All`, {
      body: {
        metadata: { name: 'probe' },
        spec: { serviceAccountName: 'probe', containers: [{ name: 'a', image: 'a' }] },
      },
    });
    if (status !== 201 || !JSON.stringify(body).includes('cellmesh-sidecar')) throw new Error(JSON.stringify(body));
  });
}
