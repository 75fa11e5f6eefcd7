import type { KubernetesClient } from '#kubernetes/client.ts';
import { textAt } from '#kubernetes/json.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { serverVersion } from '#kubernetes/server-version.ts';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';
import { found, rightsNeeded } from './found.ts';
import type { KubernetesObject } from './installations.ts';
import { cells, nameOf, resourceOf } from './kinds.ts';
import { untilEstablished, untilReady, type Waiting } from './readiness.ts';
import { untilWebhooksAnswer } from './webhooks-answer.ts';

export interface Applied {
  readonly object: string;
  readonly outcome: 'created' | 'changed' | 'unchanged';
}

interface ApplyOptions extends Waiting {
  readonly client: Pick<KubernetesClient, 'get' | 'list' | 'apply' | 'ask'>;
  /** Takes fields that somebody else has set. */
  readonly isForced: boolean;
  /** Whether all pods must be ready at the end, and the API server get answers. */
  readonly waits: boolean;
  readonly onApplied: (applied: Applied) => void;
  /** Something takes its time. */
  readonly onWaiting: (what: string) => void;
}

interface ToApply {
  readonly definitions: readonly KubernetesObject[];
  /** In this order. Webhook configurations come last, whatever it is. */
  readonly objects: readonly KubernetesObject[];
}

/** Who owns the fields that are set (server-side apply). */
const fieldManager = 'cellmesh-install';
const oldest = { major: 1, minor: 29 };

/**
 * Brings an installation into a cluster, or up to date. The API server asks a webhook as soon as there is its configuration, and that fails
 * closed: a new one waits until the control plane answers.
 * @returns configurations that were left out since there is no cell, without which the control plane does not get ready
 * @throws CellmeshError `kubernetes_too_old`, `install_failed` with object, cause and what to do; what was applied stays
 */
export async function applyAll({ definitions, objects }: ToApply, options: ApplyOptions): Promise<KubernetesObject[]> {
  await refuseOldCluster(options);
  for (const one of definitions) await applyOne(one, options);
  for (const one of definitions) await untilEstablished(one, options);
  const webhooks = objects.filter(isWebhook);
  const others = objects.filter((one) => !isWebhook(one));
  for (const one of others) await applyOne(one, options);
  const isNew = (await Promise.all(webhooks.map((one) => current(one, options)))).includes(undefined);
  if (isNew && (await found(options.client, cells)).length === 0) return webhooks;
  const controllers = others.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
  if (isNew || options.waits) {
    for (const one of controllers) {
      options.onWaiting(`${nameOf(one)} is to get ready`);
      await untilReady(one, options, options.waits ? undefined : 1);
    }
  }
  for (const one of webhooks) await applyOne(one, options);
  const namespace = controllers[0]?.metadata.namespace;
  if (options.waits && webhooks.length > 0 && namespace !== undefined) {
    options.onWaiting('the API server is to get answers');
    await untilWebhooksAnswer(webhooks, namespace, options);
  }
  return [];
}

async function refuseOldCluster({ client }: ApplyOptions): Promise<void> {
  const { major, minor } = await serverVersion(client);
  if (major > oldest.major || (major === oldest.major && minor >= oldest.minor)) return;
  throw new CellmeshError(
    'kubernetes_too_old',
    `the cluster runs Kubernetes ${major}.${minor}; sidecars are init containers that go on, which there are since ${oldest.major}.${oldest.minor}`,
  );
}

async function applyOne(object: KubernetesObject, options: ApplyOptions): Promise<void> {
  const { client, isForced, onApplied } = options;
  try {
    const before = await current(object, options);
    const after = await client.apply(resourceOf(object), nameIn(object), object, { fieldManager, force: isForced });
    const isSame = versionOf(before) === versionOf(after);
    onApplied({ object: nameOf(object), outcome: before === undefined ? 'created' : isSame ? 'unchanged' : 'changed' });
  } catch (error) {
    throw explained(object, error);
  }
}

/** @throws KubernetesError, but not for what is not there */
async function current(object: KubernetesObject, { client }: ApplyOptions): Promise<KubernetesObject | undefined> {
  try {
    return await client.get(resourceOf(object), nameIn(object));
  } catch (error) {
    if (error instanceof KubernetesError && error.isNotFound) return undefined;
    throw error;
  }
}

function explained(object: KubernetesObject, error: unknown): unknown {
  if (!(error instanceof KubernetesError)) {
    if (!isCellmeshError(error)) return error;
    return new CellmeshError(error.code, `${nameOf(object)}: ${error.message}`, { cause: error });
  }
  const next = nextStep(error);
  return new CellmeshError('install_failed', `${nameOf(object)}: ${error.message}; ${next}`, { cause: error });
}

function nextStep({ status }: KubernetesError): string {
  switch (status) {
    case 401:
    case 403:
      return rightsNeeded;
    case 404:
      return 'the cluster does not know this kind of objects, or has no such namespace';
    case 409:
      return 'who has set these fields would set them again; --force-conflicts takes them';
    default:
      return 'run the command again when it is mended';
  }
}

function isWebhook({ kind }: KubernetesObject): boolean {
  return kind.endsWith('WebhookConfiguration');
}

function nameIn({ metadata: { name, namespace } }: KubernetesObject) {
  return { name, ...(namespace !== undefined && { namespace }) };
}

function versionOf(object: KubernetesObject | undefined): string | undefined {
  return textAt(object, 'metadata', 'resourceVersion');
}
