import type { KubernetesClient } from '#kubernetes/client.ts';
import { type Clock, deadline } from '#runtime/clock.ts';
import { durationText } from '#runtime/duration.ts';
import { readOpenFiles } from '#runtime/open-files.ts';
import { version } from '#runtime/version.ts';
import { connect } from '../../install/connect.ts';
import { readInstallation, region } from '../../installation.ts';
import { type AuthorityOptions, isInCluster } from '../../operator.ts';
import { readManifestDir } from '../../policy/manifest-files.ts';
import type { ClusterFacts } from '../cluster-facts.ts';
import { type Facts, factOf } from '../facts.ts';
import { certificatesOnMachine, federatedCertificates } from './certificates.ts';
import { clusterFacts } from './cluster.ts';
import { certificatesInCluster } from './cluster-certificates.ts';
import { askControlPlane, askIdentity } from './control-plane.ts';
import { machineFacts, shown } from './machine.ts';
import { policyFactsOf } from './policy.ts';

interface Bounds {
  readonly failBeforeMs: number;
  /** For everything together. */
  readonly timeoutMs: number;
}

/**
 * Looks once, at everything, side by side. What cannot be found out is a fact that says why.
 * @throws CellmeshError `installation_missing`, `state_version`: there is nothing to look at; for a kubeconfig file `config_invalid`, `document_invalid`,
 * `file_unreadable`, `credential_plugin_failed`
 */
export async function collectFacts(
  options: AuthorityOptions,
  { failBeforeMs, timeoutMs }: Bounds,
  clock: Clock,
): Promise<Facts> {
  // Whoever logs in first takes the time that it takes.
  await using client = isInCluster(options) ? await connect(options) : undefined;
  using limit = deadline(timeoutMs, new Error(`no answer in ${durationText(timeoutMs)}`));
  const { signal } = limit;
  const nowMs = clock.now();
  const program = {
    version,
    nodeVersion: process.versions.node,
    nodeOptions: process.env['NODE_OPTIONS'] ?? '',
    openFiles: await readOpenFiles(),
  };
  const found =
    client === undefined ? onMachine(options, nowMs, clock, signal) : inCluster(options, client, nowMs, clock, signal);
  return { nowMs, failBeforeMs, program, ...(await found) };
}

type Found = Omit<Facts, 'nowMs' | 'failBeforeMs' | 'program'>;

async function onMachine(options: AuthorityOptions, nowMs: number, clock: Clock, signal: AbortSignal): Promise<Found> {
  const installation = await readInstallation(options.state);
  const reading = factOf(
    async () => policyFactsOf(await readManifestDir(shown(installation.policyDir)), nowMs),
    signal,
  );
  const [asked, global, certificates, policy, machine] = await Promise.all([
    askControlPlane(options, reading.then(hearsPlaintext), clock, signal),
    askIdentity(forIdentity(options), signal),
    certificatesOnMachine(installation, signal),
    reading,
    machineFacts(installation, signal),
  ]);
  return {
    ...asked,
    rotations: [...asked.rotations, ...global],
    certificates: [...certificates, ...federatedCertificates(policy)],
    policy,
    machine,
  };
}

async function inCluster(
  options: AuthorityOptions,
  client: KubernetesClient,
  nowMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Found> {
  const { namespace = 'cellmesh' } = options;
  const looking = clusterFacts(client, namespace, signal);
  const policy = looking.then((cluster) => policyInCluster(cluster, nowMs));
  const [asked, cluster] = await Promise.all([
    askControlPlane(options, policy.then(hearsPlaintext), clock, signal),
    looking,
  ]);
  return {
    ...asked,
    certificates: [...certificatesInCluster(cluster), ...federatedCertificates(await policy)],
    policy: await policy,
    cluster,
  };
}

/** `--address` is that of the control plane. */
function forIdentity({ address: _, admin: __, ...options }: AuthorityOptions): AuthorityOptions {
  return { ...options, region };
}

function hearsPlaintext(policy: Facts['policy']): boolean {
  return 'value' in policy && policy.value.policies.some(({ plaintextUntilMs }) => plaintextUntilMs !== undefined);
}

/** What the objects say. Which version they come to is the control plane's to say: `policies-accepted` tells whether it has taken them. */
function policyInCluster({ policyObjects }: ClusterFacts, nowMs: number): Facts['policy'] {
  if ('unknown' in policyObjects) return policyObjects;
  const texts = new Map(policyObjects.value.map(({ name, text }) => [name, text]));
  return { value: { ...policyFactsOf(texts, nowMs), version: undefined } };
}
