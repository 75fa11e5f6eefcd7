import { authorityBelow, type OpenAuthorityOptions, type OpenedAuthority, openRootsIn } from '#certs/open-authority.ts';
import type { RootSigner } from '#certs/root-signer.ts';
import { sleep } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import { startHealthServer } from '#runtime/health-server.ts';
import { Metrics } from '#runtime/metrics.ts';
import type { ClusterConnection } from '../controller/cluster-connection.ts';
import type { CellConfig } from '../settings.ts';
import { ClusterRoots } from './cluster-roots.ts';
import { SecretRootStore } from './root-store-secret.ts';

interface ClusterAuthorityOptions extends Omit<OpenAuthorityOptions, 'operatorRoot'> {
  readonly connection: ClusterConnection;
  /** Reads the operator's own root, which is in the place of the Secret; undefined when the roots are ours. */
  readonly readOperatorRoot: (() => Promise<RootSigner>) | undefined;
  readonly signal: AbortSignal;
}

/** After a request for an intermediate that was not signed. */
const pauseMs = 500;

/**
 * The authority of one replica, below the roots that all replicas of a control plane share. While no leader has opened them, or signed the intermediate
 * of this replica, this waits for it, and whoever asks hears why.
 */
export async function openClusterAuthority(
  config: CellConfig,
  options: ClusterAuthorityOptions,
): Promise<OpenedAuthority> {
  const { trustDomain, connection, readOperatorRoot, logger, clock, signal } = options;
  await using opening = new AsyncDisposableStack();
  const { client, namespace } = connection;
  const roots = opening.use(
    new ClusterRoots({
      ...{ ...options, ...connection, client, namespace, leadership: connection.leadership },
      async open(term) {
        const store = new SecretRootStore({ client, namespace, trustDomain, signal: term });
        return openRootsIn(store, config, { ...options, operatorRoot: await readOperatorRoot?.() });
      },
    }),
  );
  let problem = 'the leader has not signed the intermediate of this replica yet';
  const notReady = () => [`roots: ${roots.problem ?? problem}`];
  await using _health = await startHealthServer({ ...config.health, notReady, metrics: new Metrics() });
  await roots.whenKnown;
  for (;;) {
    signal.throwIfAborted();
    try {
      const { authority } = opening.use(await authorityBelow(roots, config, options));
      const owned = opening.move();
      return { authority, roots, [Symbol.asyncDispose]: () => owned.disposeAsync() };
    } catch (error) {
      problem = `the intermediate of this replica is not signed: ${messageOf(error)}`;
      logger.warn('the intermediate of this replica is not signed; it is tried again', { error });
      await sleep(clock, pauseMs, signal);
    }
  }
}
