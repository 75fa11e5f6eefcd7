import type { AuthorityOptions } from '#certs/authority.ts';
import { Authority } from '#certs/authority.ts';
import { openRootsIn } from '#certs/open-authority.ts';
import type { RootSigner } from '#certs/root-signer.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { ClusterRoots } from '#control-plane/roots/cluster-roots.ts';
import { SecretRootStore } from '#control-plane/roots/root-store-secret.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { type Clock, systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { KubernetesServer } from './kubernetes.ts';
import {
  bindClusterRole,
  createNamespace,
  createPod,
  createServiceAccount,
  createToken,
} from './kubernetes-objects.ts';
import { logLines } from './log-lines.ts';

export const trustDomain = parseTrustDomain('cell-1.example.com');
export const account = 'cellmesh-control-plane';

/** Who leads is what the test says. */
export class SaidLeadership implements Watch<boolean> {
  readonly #isLeading = new WatchSource(false);
  #term: AbortController | undefined;

  get current(): boolean {
    return this.#isLeading.current;
  }

  get term(): AbortSignal | undefined {
    return this.#term?.signal;
  }

  subscribe(listener: (isLeading: boolean) => void): () => void {
    return this.#isLeading.subscribe(listener);
  }

  begin(): void {
    this.#term = new AbortController();
    this.#isLeading.set(true);
  }

  end(): void {
    this.#term?.abort(new Error('the test ends the term'));
    this.#term = undefined;
    this.#isLeading.set(false);
  }
}

/** A namespace with the account of a control plane, which may everything that is asked for here. */
export async function prepareControlPlane(server: KubernetesServer, namespace: string): Promise<void> {
  await createNamespace(server, namespace);
  await createServiceAccount(server, namespace, account);
  const all = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'];
  await bindClusterRole(server, { namespace, name: account }, [
    { apiGroups: ['', 'certificates.k8s.io'], resources: ['*'], verbs: all },
    { apiGroups: ['certificates.k8s.io'], resources: ['signers'], verbs: ['approve', 'sign'] },
  ]);
}

export interface Replica extends AsyncDisposable {
  readonly name: string;
  readonly leadership: SaidLeadership;
  readonly roots: ClusterRoots;
  readonly client: KubernetesClient;
  readonly lines: ReturnType<typeof logLines>;
  /** Paths of what it has asked for, with their verbs: `get secrets`. */
  readonly asked: readonly string[];
  authority(options?: Partial<AuthorityOptions>): Promise<Authority>;
}

export interface ReplicaOptions {
  readonly clock?: Clock;
  readonly svidLifetime?: number;
  readonly rootPublishMin?: number;
  readonly operatorRoot?: () => Promise<RootSigner>;
}

/** One replica of a control plane, in a pod that nothing runs, as far as its roots go. */
export async function startReplica(
  server: KubernetesServer,
  { namespace, name }: { namespace: string; name: string },
  { clock = systemClock, svidLifetime = 12 * 3600_000, rootPublishMin = 0, operatorRoot }: ReplicaOptions = {},
): Promise<Replica> {
  const uid = await createPod(server, { namespace, name }, { serviceAccount: account });
  const token = await createToken(server, { namespace, name: account }, { pod: { name, uid } });
  const asked: string[] = [];
  const client = recording(await server.clientAs(token), asked);
  const leadership = new SaidLeadership();
  const lines = logLines();
  const options = { trustDomain, clock, random: systemRandom, logger: lines.logger };
  const config = {
    svidLifetime,
    rootPublishMin,
    stateDir: '',
    rootLifetime: 365 * 24 * 3600_000,
    rootRotateAfter: 0.67,
  };
  const roots = new ClusterRoots({
    ...{ ...options, client, leadership, namespace },
    open: async (signal) =>
      openRootsIn(new SecretRootStore({ client, namespace, trustDomain, signal }), config, {
        ...options,
        operatorRoot: await operatorRoot?.(),
      }),
  });
  return {
    ...{ name, leadership, roots, client, lines, asked },
    async authority(more) {
      await roots.whenKnown;
      const { bundle, intermediates } = roots;
      return Authority.create({ ...options, bundle, intermediates, svidLifetimeMs: svidLifetime, ...more });
    },
    async [Symbol.asyncDispose]() {
      leadership.end();
      await roots[Symbol.asyncDispose]();
    },
  };
}

function recording(client: KubernetesClient, asked: string[]): KubernetesClient {
  return new Proxy(client, {
    get(target, verb) {
      const value = Reflect.get(target, verb, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const { plural } = args[0] as { plural?: string };
        if (plural !== undefined) asked.push(`${String(verb)} ${plural}`);
        return value.apply(target, args);
      };
    },
  });
}
