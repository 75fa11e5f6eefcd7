import type { LoadedRoots, RootStore } from '#certs/root-store.ts';
import { parseRoots, type Roots, serializeRoots } from '#certs/roots.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { secrets } from '#kubernetes/resources-secret.ts';
import { CellmeshError } from '#runtime/errors.ts';

interface SecretRootStoreOptions {
  readonly client: Pick<KubernetesClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  /** Whose roots they are to be; undefined: whoever's are there. */
  readonly trustDomain?: TrustDomain;
  /** Who leads no more neither reads nor writes. */
  readonly signal?: AbortSignal;
}

const name = 'cellmesh-root';
const key = 'roots.json';

/** Roots in a Secret of the control plane's namespace. The API server compares and sets (`resourceVersion`), so that of replicas that save at once one wins. */
export class SecretRootStore implements RootStore {
  readonly recovery: string;
  readonly #options: SecretRootStoreOptions;

  constructor(options: SecretRootStoreOptions) {
    this.#options = options;
    this.recovery = `cellmesh certs recover --namespace ${options.namespace}`;
  }

  async load(): Promise<LoadedRoots | undefined> {
    const { client, namespace, trustDomain, signal } = this.#options;
    try {
      const found = await client.get(secrets, { namespace, name }, signal);
      const where = `the Secret ${namespace}/${name}`;
      const text = found.valueOf(key)?.reveal() ?? '';
      return { roots: parseRoots(text, trustDomain, where), version: found.resourceVersion };
    } catch (error) {
      if (error instanceof KubernetesError && error.isNotFound) return undefined;
      throw error;
    }
  }

  async save(roots: Roots, version: string | undefined): Promise<string> {
    const { client, namespace, signal } = this.#options;
    const fields = { type: 'Opaque', stringData: { [key]: serializeRoots(roots) } };
    const object = { namespace, name };
    try {
      const saved =
        version === undefined
          ? await client.create(secrets, object, fields, signal)
          : await client.replace(secrets, { ...object, resourceVersion: version }, fields, signal);
      return saved.resourceVersion;
    } catch (error) {
      // One that was deleted was changed too.
      const isChanged =
        error instanceof KubernetesError && (error.isConflict || (error.isNotFound && version !== undefined));
      if (!isChanged) throw error;
      const message = `the Secret ${namespace}/${name} was changed by another process in between`;
      throw new CellmeshError('conflict', message, { retryable: true, cause: error });
    }
  }
}
