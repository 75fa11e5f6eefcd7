import type { CellDocument } from '#policy/cell-document.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { startHealthServer } from '#runtime/health-server.ts';
import { Metrics } from '#runtime/metrics.ts';
import type { Watch } from '#runtime/watch.ts';
import type { ClusterConnection } from './controller/cluster-connection.ts';
import type { Outcomes } from './controller/cluster-policy-source.ts';
import { DirectoryPolicySource } from './directory-policy-source.ts';
import type { PolicySource } from './policy-source.ts';
import type { CellConfig, ControlPlaneConfig } from './settings.ts';
import type { ProcessDependencies } from './start-control-plane.ts';

export interface OpenedCell extends AsyncDisposable {
  /** Undefined without `--kubernetes`. It ends with all that is opened here; its `leadership` ends first, so that another replica goes on at once. */
  readonly connection: ClusterConnection | undefined;
  readonly policy: PolicySource;
  /** What became of the objects that the cell comes from; undefined where it comes from a directory. */
  readonly outcomes: Watch<Outcomes> | undefined;
  readonly config: CellConfig;
}

/**
 * Which cell this is the control plane of. What speaks with a cluster is loaded with one only.
 * @throws CellmeshError `config_invalid`, `document_invalid`, `file_unreadable`
 */
export async function openCell(given: ControlPlaneConfig, dependencies: ProcessDependencies): Promise<OpenedCell> {
  await using opening = new AsyncDisposableStack();
  const { kubernetes } = given;
  const connection =
    kubernetes === undefined
      ? undefined
      : await (await import('./controller/cluster-connection.ts')).connectCluster(
          { ...given, kubernetes },
          dependencies,
        );
  opening.use(connection);
  const { policy, outcomes } = await openPolicy(given, dependencies, connection);
  opening.use(policy);
  const config = settled(given, policy.cell.current.document);
  const owned = opening.move();
  return { connection, policy, outcomes, config, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/**
 * The cell and its manifests: of a directory, or of the cluster. Where the cluster has no Cell yet, this waits for it, and whoever asks hears why.
 */
async function openPolicy(
  { manifestsDir, health }: ControlPlaneConfig,
  dependencies: ProcessDependencies,
  connection: ClusterConnection | undefined,
): Promise<Pick<OpenedCell, 'policy' | 'outcomes'>> {
  if (manifestsDir !== undefined) {
    const policy = await DirectoryPolicySource.open({ ...dependencies, directory: manifestsDir });
    return { policy, outcomes: undefined };
  }
  if (connection === undefined)
    throw new CellmeshError('config_invalid', 'the cell comes from --manifests-dir or from --kubernetes: name one');
  const { ClusterPolicySource } = await import('./controller/cluster-policy-source.ts');
  await using opening = new AsyncDisposableStack();
  const { client } = connection;
  const source = opening.use(new ClusterPolicySource({ ...dependencies, client }));
  const notReady = () => source.problems.map((problem) => `policy: ${problem}`);
  await using _health = await startHealthServer({ ...health, notReady, metrics: new Metrics() });
  await source.whenLoaded;
  opening.move();
  return { policy: source, outcomes: source.outcomes };
}

/** @throws CellmeshError `config_invalid` where settings and cell document differ */
function settled(config: ControlPlaneConfig, { domain }: CellDocument): CellConfig {
  const { globalTrustDomain = domain } = config;
  if (domain === globalTrustDomain) return { ...config, globalTrustDomain };
  throw new CellmeshError(
    'config_invalid',
    `the cell document names ${domain} as the global trust domain, the settings ${globalTrustDomain}`,
  );
}
